#include "kernels/kernels.h"

namespace splitd::kernels {

void add_matmul_avx2(MatmulKernels&) {}

}  // namespace splitd::kernels

#include "kernels/kernels.h"

namespace splitd::kernels {

void add_matmul_avx512(MatmulKernels&) {}

}  // namespace splitd::kernels

#include "kernels/kernels.h"

namespace splitd::kernels {

void add_matmul_neon(MatmulKernels&) {}

}  // namespace splitd::kernels

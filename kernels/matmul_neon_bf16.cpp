#include "kernels/kernels.h"

namespace splitd::kernels {

void add_matmul_neon_bf16(MatmulKernels&) {}

}  // namespace splitd::kernels

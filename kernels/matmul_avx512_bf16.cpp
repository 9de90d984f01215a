#include "kernels/kernels.h"

namespace splitd::kernels {

void add_matmul_avx512_bf16(MatmulKernels&) {}

}  // namespace splitd::kernels

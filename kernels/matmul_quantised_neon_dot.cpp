// Owns: products of quantised weights by the dotprod extension (armv8.2-a and later).
#include "kernels/kernels.h"
#include "kernels/quantised_neon_dot_lanes.h"

namespace splitd::kernels {

void add_matmul_quantised_neon_dot(MatmulKernels& table) {
  add_all_quantised<NeonDot>(table);
}

}  // namespace splitd::kernels

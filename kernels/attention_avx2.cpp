#include "kernels/kernels.h"

namespace splitd::kernels {

void add_attention_avx2(AttentionKernels&) {}

}  // namespace splitd::kernels

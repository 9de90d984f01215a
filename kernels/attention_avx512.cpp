#include "kernels/kernels.h"

namespace splitd::kernels {

void add_attention_avx512(AttentionKernels&) {}

}  // namespace splitd::kernels

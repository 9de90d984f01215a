#include "kernels/kernels.h"

namespace splitd::kernels {

void add_attention_neon(AttentionKernels&) {}

}  // namespace splitd::kernels

#include "kernels/kernels.h"

namespace splitd::kernels {

void add_attention_reference(AttentionKernels&) {}

}  // namespace splitd::kernels

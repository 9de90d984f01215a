// Owns: the contract of the attention kernels, for every instruction set.
// Thread-safe: a call touches only what its arguments point to. Never fails, allocates or throws.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitd::kernels {

struct AttentionKernels {};

}  // namespace splitd::kernels

// Owns: the contract of the kernels that work on one row at a time: norms, rope, activations,
// softcaps, embedding rows, conversions, top-k. For every instruction set.
// Thread-safe: a call touches only what its arguments point to. Never fails, allocates or throws.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitd::kernels {

struct RowKernels {};

}  // namespace splitd::kernels

// Owns: what the GGUF reader and its value views both know of the bytes. Not for other rooms.
#pragma once

#include <cstdint>

#include "runtime/model/formats/gguf.h"

namespace splitd {

inline constexpr uint64_t kGgufArrayHeadBytes = 12;  // u32 element type, u64 count

// 0 for strings and arrays.
[[nodiscard]] uint64_t gguf_scalar_bytes(GgufType type);

}  // namespace splitd

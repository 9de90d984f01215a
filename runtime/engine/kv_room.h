// Owns: whether the KV of a session has room before any of it is reserved, and what would have room
// where it has not. Pure.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"

namespace splitd {

// What these backends reserve for a session, together.
[[nodiscard]] uint64_t kv_bytes(std::span<const Backend* const> backends, const KvShape& shape);

// Refuses with what is needed, what is available, and the longest context that has room, with this
// type and with the smallest. `available` of 0 is not known, and enough.
[[nodiscard]] Status check_kv_room(std::span<const Backend* const> backends, const KvShape& shape,
                                   uint64_t available);

}  // namespace splitd

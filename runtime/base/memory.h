// Owns: how much memory this process could still take.
#pragma once

#include <cstdint>

namespace splitd {

// Without swapping, and within the limit of the control group (a container) where there is one;
// 0 where the system does not say.
[[nodiscard]] uint64_t available_memory_bytes();

}  // namespace splitd

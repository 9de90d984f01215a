// Owns: how much memory this process could still take, and giving back what it has no use for.
#pragma once

#include <cstdint>

namespace splitd {

// Without swapping, and within the limit of the control group (a container) where there is one;
// 0 where the system does not say.
[[nodiscard]] uint64_t available_memory_bytes();

// What the allocator keeps for later goes back to the system. Takes some 100 µs: for quiet moments.
void give_back_memory();

}  // namespace splitd

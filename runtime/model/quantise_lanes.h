// Owns: four numbers at a time, for the arithmetic of quantising: 16 bytes are a register on every
// machine, and sums over lanes have one order on all of them. Pure.
#pragma once

#include <cstdint>
#include <cstring>

namespace splitd::quantise_lanes {

using Lanes [[gnu::vector_size(16)]] = float;
inline constexpr uint64_t kLanes = 4;
// Adding and subtracting it rounds to the nearest even integer.
inline constexpr float kRound = 12582912.0f;  // 1.5 · 2^23

inline Lanes load(const float* from) {
  Lanes out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

inline float sum_of(const Lanes& lanes) {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

}  // namespace splitd::quantise_lanes

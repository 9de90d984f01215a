// Owns: the random numbers of sampling: Philox4x32-10 (Salmon et al., SC 2011), a pure function of
// a key and a counter. A draw depends on (seed, position, draw) alone, so a token is the same
// whatever was drafted, batched or repeated before it.
#pragma once

#include <array>
#include <cstdint>

namespace splitd {

using PhiloxBlock = std::array<uint32_t, 4>;

[[nodiscard]] constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Uniform in [0, 1), 53 bits.
[[nodiscard]] constexpr double philox_uniform(uint64_t seed, uint64_t position, uint32_t draw) {
  const PhiloxBlock out =
      philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), draw, 0},
                 {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (uint64_t{out[0]} << 32 | out[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace splitd

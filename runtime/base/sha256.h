// Owns: SHA-256 (FIPS 180-4), streaming. Uses the CPU's SHA instructions where they exist.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace splitd {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  [[nodiscard]] Sha256Digest finish();  // once

 private:
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> block_;
  uint64_t total_bytes_ = 0;
};

// Lower-case hexadecimal.
[[nodiscard]] std::string hex(std::span<const uint8_t> bytes);

}  // namespace splitd

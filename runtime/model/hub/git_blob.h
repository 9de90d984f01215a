// Owns: SHA-1, for one purpose: git names the small files of a repository by it, and the hub states
// those names. It finds accidents, not attackers: what it protects came over TLS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace splitd {

class GitBlobHash {
 public:
  explicit GitBlobHash(uint64_t size);  // of the file: git hashes it first
  void update(std::span<const std::byte> bytes);
  [[nodiscard]] std::string finish();  // lower-case hexadecimal; once

 private:
  void compress(const uint8_t* block);
  std::array<uint32_t, 5> state_;
  std::array<uint8_t, 64> block_{};
  uint64_t total_bytes_ = 0;
};

}  // namespace splitd

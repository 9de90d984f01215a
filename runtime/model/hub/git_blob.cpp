#include "runtime/model/hub/git_blob.h"

#include <bit>

#include "runtime/base/sha256.h"

namespace splitd {

GitBlobHash::GitBlobHash(uint64_t size)
    : state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0} {
  const std::string head = "blob " + std::to_string(size) + '\0';
  update(std::as_bytes(std::span(head.data(), head.size())));
}

void GitBlobHash::update(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    block_[total_bytes_++ % 64] = static_cast<uint8_t>(byte);
    if (total_bytes_ % 64 == 0) compress(block_.data());
  }
}

std::string GitBlobHash::finish() {
  const uint64_t bits = total_bytes_ * 8;
  std::byte padding{0x80};
  do {
    update({&padding, 1});
    padding = std::byte{0};
  } while (total_bytes_ % 64 != 56);
  for (int shift = 56; shift >= 0; shift -= 8) {
    const std::byte byte{static_cast<uint8_t>(bits >> shift)};
    update({&byte, 1});
  }
  std::array<uint8_t, 20> digest;
  for (size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return hex(digest);
}

void GitBlobHash::compress(const uint8_t* block) {
  std::array<uint32_t, 80> w;
  for (size_t i = 0; i < 16; ++i) {
    w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 |
           uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
  }
  for (size_t i = 16; i < 80; ++i) {
    w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  }
  auto [a, b, c, d, e] = state_;
  for (size_t i = 0; i < 80; ++i) {
    uint32_t f = b ^ c ^ d;
    uint32_t k = i < 40 ? 0x6ed9eba1 : 0xca62c1d6;
    if (i < 20) {
      f = (b & c) | (~b & d);
      k = 0x5a827999;
    } else if (i >= 40 && i < 60) {
      f = (b & c) | (b & d) | (c & d);
      k = 0x8f1bbcdc;
    }
    const uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  }
  state_ = {state_[0] + a, state_[1] + b, state_[2] + c, state_[3] + d, state_[4] + e};
}

}  // namespace splitd

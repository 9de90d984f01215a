// Owns: reading characters of text already known to be valid UTF-8, where checking again would
// cost more than the work itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace splitd::tok {

struct ValidCharacter {
  char32_t code_point;
  uint32_t length;  // bytes
};

inline ValidCharacter valid_character(const char* at) {
  const auto byte = [at](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(at[i])); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
          4};
}

// Where the character before `at` (> 0) begins.
inline size_t valid_character_before(std::string_view text, size_t at) {
  do {
    --at;
  } while ((static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
  return at;
}

}  // namespace splitd::tok

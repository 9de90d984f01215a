// Owns: the byte-level alphabet of GPT-2: a printable character for each byte, so that any bytes
// can be spelled in a vocabulary of texts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/utf8.h"

namespace splitd::tok {

namespace byte_alphabet_detail {
constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}
constexpr std::array<char16_t, 256> make_characters() {
  std::array<char16_t, 256> table{};
  char16_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[byte] = stands_for_itself(byte) ? static_cast<char16_t>(byte) : next++;
  }
  return table;
}
constexpr std::array<int16_t, 0x144> make_bytes() {
  std::array<int16_t, 0x144> table{};
  table.fill(-1);
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[make_characters()[byte]] = static_cast<int16_t>(byte);
  }
  return table;
}
}  // namespace byte_alphabet_detail

inline constexpr std::array<char16_t, 256> kByteCharacters =
    byte_alphabet_detail::make_characters();

inline void append_byte_characters(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) utf8_append(out, kByteCharacters[static_cast<uint8_t>(byte)]);
}

// The byte that the character stands for, or -1.
inline int byte_of_character(char32_t c) {
  static constexpr std::array<int16_t, 0x144> kBytes = byte_alphabet_detail::make_bytes();
  return c < kBytes.size() ? kBytes[c] : -1;
}

}  // namespace splitd::tok

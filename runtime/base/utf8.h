// Owns: UTF-8, strictly as Unicode defines it (no overlongs, no surrogates, nothing past U+10FFFF).
// Bytes that are not UTF-8 become U+FFFD, one for each maximal part of a sequence, as Python, Rust
// and browsers do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace splitd {

inline constexpr char32_t kReplacementCharacter = 0xfffd;
inline constexpr std::string_view kReplacementUtf8 = "\xef\xbf\xbd";

struct Utf8Step {
  char32_t code_point = 0;  // kReplacementCharacter where !valid
  uint8_t length = 0;       // bytes consumed, ≥ 1 unless the text is empty
  bool valid = false;
  bool incomplete = false;  // !valid only because the text ended: more bytes could complete it
};

// The character at the start of `text`.
[[nodiscard]] Utf8Step utf8_decode(std::string_view text);

void utf8_append(std::string& out, char32_t code_point);

// Offset of the first byte that is not part of valid UTF-8; text.size() when all of it is valid.
[[nodiscard]] size_t utf8_valid_prefix(std::string_view text);
[[nodiscard]] inline bool utf8_is_valid(std::string_view text) {
  return utf8_valid_prefix(text) == text.size();
}

// The text with everything invalid replaced; the same bytes when it is valid.
[[nodiscard]] std::string utf8_replace_invalid(std::string_view text);

// Number of code points of valid UTF-8.
[[nodiscard]] size_t utf8_length(std::string_view text);

}  // namespace splitd

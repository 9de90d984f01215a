// Owns: what Python's str asks Unicode: case, character classes, whitespace, line ends.
// Simple mappings and categories come from utf8proc, the special ones from tables made with
// Python's unicodedata. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace splitd::jinja {

// Full case mapping of one character: up to three, ended by 0.
using CaseMapping = std::array<char32_t, 3>;
CaseMapping to_upper(char32_t c);
CaseMapping to_lower(char32_t c);  // final sigma apart
CaseMapping to_title(char32_t c);
CaseMapping to_folded(char32_t c);

bool is_space(char32_t c);     // str.isspace, str.strip, re's \s
bool is_line_end(char32_t c);  // str.splitlines
bool is_alpha(char32_t c);     // str.isalpha
bool is_decimal(char32_t c);   // str.isdecimal
bool is_digit(char32_t c);     // str.isdigit
bool is_numeric(char32_t c);   // str.isnumeric
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_cased_title(char32_t c);  // titlecase letters such as ǅ
bool is_case_ignorable(char32_t c);
bool is_printable(char32_t c);  // shown as itself by repr
bool is_identifier_start(char32_t c);
bool is_identifier_part(char32_t c);

inline bool is_cased(char32_t c) {
  return is_lower(c) || is_upper(c) || is_cased_title(c);
}
inline bool is_alnum(char32_t c) {
  return is_alpha(c) || is_numeric(c) || is_digit(c);
}

int decimal_value(char32_t c);  // 0–9 of any script's decimal digits; -1 for others

// Length in bytes of the whitespace at the start or end of UTF-8 text.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

}  // namespace splitd::jinja

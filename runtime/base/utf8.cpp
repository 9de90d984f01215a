// UTF-8 by the table of well-formed sequences in the Unicode standard (table 3-7).
#include "runtime/base/utf8.h"

#include <cstring>

namespace splitd {
namespace {

struct LeadByte {
  uint8_t length;      // 0: not a lead byte
  uint8_t second_low;  // accepted range of the second byte
  uint8_t second_high;
};

constexpr LeadByte lead_byte(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

size_t ascii_prefix(std::string_view text) {
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (at < text.size() && static_cast<uint8_t>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

Utf8Step utf8_decode(std::string_view text) {
  if (text.empty()) return {kReplacementCharacter, 0, false, true};
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return {first, 1, true, false};
  const LeadByte lead = lead_byte(first);
  if (lead.length == 0) return {kReplacementCharacter, 1, false, false};
  char32_t code_point = first & (0x7fu >> lead.length);
  for (uint8_t index = 1; index < lead.length; ++index) {
    if (index >= text.size()) return {kReplacementCharacter, index, false, true};
    const auto byte = static_cast<uint8_t>(text[index]);
    const uint8_t low = index == 1 ? lead.second_low : 0x80;
    const uint8_t high = index == 1 ? lead.second_high : 0xbf;
    if (byte < low || byte > high) return {kReplacementCharacter, index, false, false};
    code_point = (code_point << 6) | (byte & 0x3fu);
  }
  return {code_point, lead.length, true, false};
}

void utf8_append(std::string& out, char32_t code_point) {
  const auto push = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xc0 | (code_point >> 6));
    push(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    push(0xe0 | (code_point >> 12));
    push(0x80 | ((code_point >> 6) & 0x3f));
    push(0x80 | (code_point & 0x3f));
  } else {
    push(0xf0 | (code_point >> 18));
    push(0x80 | ((code_point >> 12) & 0x3f));
    push(0x80 | ((code_point >> 6) & 0x3f));
    push(0x80 | (code_point & 0x3f));
  }
}

size_t utf8_valid_prefix(std::string_view text) {
  size_t at = 0;
  while (true) {
    at += ascii_prefix(text.substr(at));
    if (at == text.size()) return at;
    const Utf8Step step = utf8_decode(text.substr(at));
    if (!step.valid) return at;
    at += step.length;
  }
}

std::string utf8_replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const size_t good = utf8_valid_prefix(text.substr(at));
    out.append(text.substr(at, good));
    at += good;
    if (at == text.size()) break;
    out.append(kReplacementUtf8);
    at += utf8_decode(text.substr(at)).length;
  }
  return out;
}

size_t utf8_length(std::string_view text) {
  size_t count = 0;
  for (char byte : text) count += (static_cast<uint8_t>(byte) & 0xc0u) != 0x80u ? 1 : 0;
  return count;
}

}  // namespace splitd

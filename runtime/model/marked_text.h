// Owns: text that remembers which of its bytes somebody else wrote. A chat template renders
// messages and tools into one string; in literal mode a tokenizer must not find a special token in
// (or partly in) the bytes that came from them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace splitd {

struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const ByteRange&) const = default;
};

struct MarkedText {
  std::string text;
  std::vector<ByteRange> literal;  // ascending, not touching, not empty
};

}  // namespace splitd

// Owns: the regular expressions of tokenizer.json. They are written for Oniguruma; here each is
// rewritten over an alphabet of character classes (one byte a character, ClassTable) and run by
// PCRE2's JIT on the text so mapped. So \p, \s, \w and case follow our own Unicode tables, and a
// non-ASCII text costs what an ASCII one does.
// Refuses by name what cannot be rewritten (back references, subroutines, \K, \X …). Matching is
// bounded: a pattern that backtracks without end is an error, never a hang. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd::tok {

inline constexpr size_t kMaxPatternBytes = size_t{16} << 10;

struct Match {
  size_t begin;  // bytes
  size_t end;
};

// What matching needs beside the pattern; reused from piece to piece within one call.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class SplitRegex;
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

class SplitRegex {
 public:
  static Result<SplitRegex> compile(std::string_view pattern);

  SplitRegex(SplitRegex&&) noexcept;
  SplitRegex& operator=(SplitRegex&&) noexcept;
  ~SplitRegex();

  // All matches in valid UTF-8, left to right, as Oniguruma's iterator gives them: an empty match
  // right after the last one is skipped. Replaces the content of `matches`.
  Status find_all(std::string_view text, RegexScratch& scratch, std::vector<Match>& matches) const;

 private:
  struct Code;
  explicit SplitRegex(std::unique_ptr<const Code> code);
  std::unique_ptr<const Code> code_;
};

}  // namespace splitd::tok

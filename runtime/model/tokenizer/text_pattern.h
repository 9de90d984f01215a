// Owns: {"String": …} or {"Regex": …}, what the steps of tokenizer.json search for.
// Immutable, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/tokenizer/split_regex.h"

namespace splitd::tok {

class TextPattern {
 public:
  static Result<TextPattern> parse(std::optional<Json> json);
  static TextPattern plain(std::string text) { return TextPattern(std::move(text), std::nullopt); }
  static Result<TextPattern> regex(std::string_view pattern);

  // Every match in valid UTF-8, left to right; replaces the content of `matches`.
  Status find_all(std::string_view text, RegexScratch& scratch, std::vector<Match>& matches) const;

 private:
  TextPattern(std::string text, std::optional<SplitRegex> regex)
      : text_(std::move(text)), regex_(std::move(regex)) {}

  std::string text_;  // not empty, unless there is a regex
  std::optional<SplitRegex> regex_;
};

}  // namespace splitd::tok

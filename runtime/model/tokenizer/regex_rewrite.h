// Owns: the translation of an Oniguruma pattern into its sets of characters and the syntax between
// them. What stands for characters becomes a numbered set; the rest is passed on in PCRE2's words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/tokenizer/code_point_set.h"

namespace splitd::tok {

struct RegexItem {
  int set = -1;        // an index into RewrittenRegex::sets, or
  std::string syntax;  // PCRE2 syntax that names no character
};

struct RewrittenRegex {
  std::vector<CodePointSet> sets;  // all different
  std::vector<RegexItem> items;
};

Result<RewrittenRegex> rewrite_regex(std::string_view pattern);

}  // namespace splitd::tok

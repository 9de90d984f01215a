// Owns: TOML text → a flat list of tables, keys and values: all that a configuration file needs, so
// that toml++ (slow to compile) is known to one source file alone. The text is untrusted: keys that
// nest deeper than a configuration ever does are refused before toml++ sees them, because it would
// build and destroy such tables by recursion. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/base/result.h"

namespace splitd::cli {

struct TomlEntry {
  // monostate: what no flag takes (a date, a mixed or empty array, a table in a table).
  using Value = std::variant<std::monostate, bool, int64_t, double, std::string,
                             std::vector<std::string>, std::vector<int64_t>>;
  std::string table;  // "" at the top
  std::string key;    // "" for the head of a table: [run] itself
  uint32_t line = 0;
  std::string kind;  // "a string", "an array", … for messages
  Value value;
};

// In the order of the lines. Errors begin with "LINE:COLUMN: ".
[[nodiscard]] Result<std::vector<TomlEntry>> read_toml(std::string_view text);

[[nodiscard]] std::string_view toml_library_version();

}  // namespace splitd::cli

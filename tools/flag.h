// Owns: the declarative tables that a command consists of. Parsing, --help, shell completion and
// the keys of the configuration file all come from them, so a flag is written once. Tables are
// plain values made of string literals (every string_view must outlive them); groups of flags that
// several commands share are functions that return a FlagGroup.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace splitd::cli {

enum class FlagKind : uint8_t {
  boolean,    // --json; also --no-json (a name that begins with "no-" loses it instead)
  integer,    // int64, within min..max
  real,       // double, finite, within min..max
  size,       // bytes: 4096, 512M, 2G, 1.5GiB (powers of 1024)
  duration,   // 250ms, 60s, 5m, 1h
  text,       // anything
  choice,     // one of `choices`
  integers,   // 1,2,3
  range,      // A:B, A < B, both ≥ 0
  file,       // a path; completion offers files
  directory,  // a path; completion offers directories
};

struct Flag {
  std::string_view name;  // as typed, without the dashes: "max-tokens"
  FlagKind kind = FlagKind::boolean;
  std::string_view metavar = {};   // "N"; by default the kind's own ("N", "SIZE", "f16|bf16")
  std::string_view help = {};      // one phrase, lower case, no full stop
  std::string_view fallback = {};  // the default as it would be typed; empty: none
  std::string_view choices = {};   // "bf16|f16|f32", for FlagKind::choice
  char short_name = 0;             // 'n' for -n
  bool repeatable = false;         // text, file: every value is kept; else the last one wins
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

struct FlagGroup {
  std::string_view title = {};  // a heading in --help; empty: "Flags"
  std::vector<Flag> flags = {};
};

enum class Completes : uint8_t { nothing, file, directory, model, command };

struct Positional {
  std::string_view name;  // "MODEL"
  std::string_view help = {};
  Completes completes = Completes::nothing;
  std::string_view choices = {};  // "bash|zsh": nothing else is accepted
  bool optional = false;
  bool repeats = false;  // the last one only: takes all that is left
};

// "a|b" → {"a", "b"}.
[[nodiscard]] std::vector<std::string_view> split_choices(std::string_view choices);
// "one of a, b"
[[nodiscard]] std::string one_of(std::string_view choices);

struct Example {
  std::string_view line;       // "splitd inspect model.gguf --json": a test parses it
  std::string_view what = {};  // shown behind a '#'
};

}  // namespace splitd::cli

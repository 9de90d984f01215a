// Owns: the values that the user gave a command, checked against its table: from the command line
// first, then from the configuration file, then the table's fallbacks. Values are parsed once,
// here, and a bad one is a usage error that names the flag, the value and what is accepted. A plain
// value; const is thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/base/result.h"
#include "tools/flag.h"

namespace splitd::cli {

struct Command;

using Range = std::pair<uint64_t, uint64_t>;
// uint64_t is a size in bytes; a vector of strings is what a repeatable flag got.
using Value = std::variant<bool, int64_t, double, uint64_t, std::chrono::nanoseconds, std::string,
                           std::vector<std::string>, std::vector<int64_t>, Range>;

// `text` as the flag's kind, within its bounds. The message says "'x' is not …; accepted: …"
// without the flag's name: the caller knows how the user spelt it.
[[nodiscard]] Result<Value> parse_value(const Flag& flag, std::string_view text);

// What a value may be, for messages: "an integer from 1 to 64", "one of bf16, f16, f32".
[[nodiscard]] std::string accepted(const Flag& flag);

// The flags that every command has: --help, --config, --quiet, --verbose.
[[nodiscard]] const FlagGroup& common_flags();
// All flags of a command, its own first; the pointers live as long as the command.
[[nodiscard]] std::vector<const Flag*> all_flags(const Command& command);
// nullptr if there is none.
[[nodiscard]] const Flag* find_flag(const Command& command, std::string_view name);

class Arguments {
 public:
  // `words` are what follows the command's name. With --help among them the rest is not judged:
  // the flag is set and nothing else is promised.
  static Result<Arguments> parse(const Command& command, std::span<const std::string> words);

  // A value from elsewhere: it counts only if the command line gave none.
  void add_default(const Flag& flag, Value value);

  const Value* find(std::string_view name) const;  // nullptr: neither given nor in the file
  const std::vector<std::string>* positional(std::string_view name) const;  // nullptr: not given

 private:
  friend class ArgumentParser;
  std::map<std::string, Value, std::less<>> values_;
  std::map<std::string, std::vector<std::string>, std::less<>> positionals_;
};

}  // namespace splitd::cli

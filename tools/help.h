// Owns: the text of `splitd help` and `splitd CMD --help`, from the tables, for 80 columns.
#pragma once

#include <span>
#include <string>

#include "tools/command.h"

namespace splitd::cli {

[[nodiscard]] std::string overview(std::span<const Command> commands);
[[nodiscard]] std::string command_help(const Command& command);

// "splitd convert [flags] MODEL DIR"
[[nodiscard]] std::string usage_line(const Command& command);
// What stands for a flag's value: "N", "bf16|f16", …; "" for a boolean.
[[nodiscard]] std::string metavar_of(const Flag& flag);

}  // namespace splitd::cli

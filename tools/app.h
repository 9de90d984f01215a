// Owns: the whole life of one invocation: which command, its values, help, the configuration file,
// and the end: an error printed once as `splitd: <message>`, and the exit code (tools/CLI.md).
#pragma once

#include <span>
#include <string>

#include "tools/command.h"

namespace splitd::cli {

[[nodiscard]] std::string_view version();  // "0.1.0"

// `words` are argv without the program's name. Returns the exit code.
[[nodiscard]] int run_app(std::span<const Command> commands, std::span<const std::string> words,
                          Streams streams);

// nullptr if there is none.
[[nodiscard]] const Command* find_command(std::span<const Command> commands, std::string_view name);
// For a name that find_command does not know.
[[nodiscard]] Error unknown_command(std::span<const Command> commands, std::string_view name);

}  // namespace splitd::cli

// Owns: the completion scripts for bash and zsh, made from the commands' tables. The scripts are
// self-contained: pressing Tab does not start splitd.
#pragma once

#include <span>
#include <string>

#include "tools/command.h"

namespace splitd::cli {

[[nodiscard]] std::string bash_completion(std::span<const Command> commands);
[[nodiscard]] std::string zsh_completion(std::span<const Command> commands);

}  // namespace splitd::cli

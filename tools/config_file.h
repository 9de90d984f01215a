// Owns: the TOML file behind --config. A key is a flag's name; keys at the top are for every
// command that has such a flag, keys in [run] for that command and win over the top. The whole file
// is checked, also what is for other commands: an unknown key or a wrong value is a usage error
// with file and line. The file is untrusted: its size and the nesting of its keys are capped.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools/command.h"

namespace splitd::cli {

inline constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

// Adds what the file says for `command` to `arguments`; what stands there already wins.
[[nodiscard]] Status read_config(const std::string& path, std::span<const Command> commands,
                                 const Command& command, Arguments& arguments);
[[nodiscard]] Status apply_config(std::string_view text, std::string_view file_name,
                                  std::span<const Command> commands, const Command& command,
                                  Arguments& arguments);

}  // namespace splitd::cli

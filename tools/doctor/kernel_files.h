// Owns: reading the one-line files of /proc and /sys. A file that cannot be read is "".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace splitd::cli {

// The first line, or all up to a NUL, without blanks at its ends.
[[nodiscard]] std::string kernel_file(const std::string& path);
// The digits at the beginning; 0 if there are none.
[[nodiscard]] uint64_t kernel_number(std::string_view text);
// The value behind "key:" in files like /proc/meminfo, the first one.
[[nodiscard]] std::string kernel_field(const std::string& path, std::string_view key);

}  // namespace splitd::cli

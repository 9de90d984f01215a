// Owns: what MODEL means on the command line: a path that exists, else `org/name[@revision]` that
// was pulled before. Nothing is fetched here.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd::cli {

// The path of a directory or file. An error says what was tried, and to pull where that would help.
[[nodiscard]] Result<std::string> resolve_model(std::string_view model);

}  // namespace splitd::cli

// Owns: `splitd bench decode`, a mode of bench with flags of its own.
#pragma once

#include "tools/command.h"

namespace splitd::cli {

[[nodiscard]] FlagGroup decode_bench_flags();

// Requires bench's other flags too.
[[nodiscard]] Status run_bench_decode(Context& context);

}  // namespace splitd::cli

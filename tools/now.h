// Owns: what time it is for a prompt: SOURCE_DATE_EPOCH where it is set, so that a prompt can be
// reproduced, else the clock.
#pragma once

#include <cstdint>

#include "runtime/base/result.h"

namespace splitd::cli {

// Seconds since 1970. A SOURCE_DATE_EPOCH that is no whole number is an error.
[[nodiscard]] Result<int64_t> current_time();

}  // namespace splitd::cli

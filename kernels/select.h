// Owns: which table of kernels runs here. What the machine lacks is an error, never a silent
// fallback. Reads no environment: the caller passes what SPLITD_ISA says. Thread-safe.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/base/result.h"

namespace splitd::kernels {

// The tables this machine can run, ascending in priority; the first is the reference.
[[nodiscard]] const std::vector<const KernelTable*>& runnable_tables();

// The table named `wanted` (SPLITD_ISA), or the best one of this machine when it is empty.
[[nodiscard]] Result<const KernelTable*> select_table(std::string_view wanted);

}  // namespace splitd::kernels

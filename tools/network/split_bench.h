// Owns: measuring a split as `splitd local` runs it: where the time of a step goes, and how soon
// the first token of a prompt is there.
#pragma once

#include <cstdint>

#include "runtime/base/result.h"
#include "tools/command.h"
#include "tools/generate/options.h"

namespace splitd::cli {

// `bench --body`, with body_flags(), tls_flags() and engine_flags(): as a table or, with --json, as
// JSON.
[[nodiscard]] Status bench_split(Context& context, const std::string& path,
                                 const EngineOptions& engine, uint32_t n_prompt, uint32_t n_gen,
                                 uint32_t repetitions);

}  // namespace splitd::cli

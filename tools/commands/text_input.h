// Owns: what the three text commands share: JSON on stdin, and batches in which an item that fails
// is answered by {"error": "…"} and the others are not disturbed.
#pragma once

#include <functional>
#include <string>

#include "runtime/base/json.h"
#include "tools/command.h"

namespace splitd::cli {

inline constexpr uint64_t kMaxStdinJsonBytes = uint64_t{256} << 20;

// All of stdin as one JSON value; what is not JSON is a usage error.
[[nodiscard]] Result<JsonDoc> read_stdin_json(Context& context);

// stdin is an array; stdout an array with one answer an item, a line each: the JSON that `answer`
// returns, or its error.
[[nodiscard]] Status answer_batch(Context& context,
                                  const std::function<Result<std::string>(Json item)>& answer);

// "[1,2,3]"
[[nodiscard]] std::string json_ids(const std::vector<uint32_t>& ids);
// An array of integers, each a u32.
[[nodiscard]] Result<std::vector<uint32_t>> parse_ids(Json json);

}  // namespace splitd::cli

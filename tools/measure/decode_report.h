// Owns: what `splitd bench decode` says of its measurements: one JSON object, or bars on a
// terminal.
#pragma once

#include <string>

#include "tools/measure/decode_bench.h"

namespace splitd::cli {

struct DecodeSubject {
  std::string path, arith, kv;
  uint32_t n_thread = 0;
  std::string where;  // "here", "2/26/2 here", "2/26/2, body at HOST:PORT"
};

[[nodiscard]] std::string decode_json(const DecodeSubject& subject,
                                      const DecodeBenchOptions& options, const DecodeBench& bench);
[[nodiscard]] std::string decode_text(const DecodeSubject& subject,
                                      const DecodeBenchOptions& options, const DecodeBench& bench);

}  // namespace splitd::cli

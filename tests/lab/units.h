// Owns: how durations, rates, sizes and shares are written on a command line, and back as text.
// Refuses what has no unit where one is needed, what is negative, and whatever stands behind the
// number. Thread-safe: no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd::lab {

using Nanoseconds = std::chrono::nanoseconds;

// "80ms", "1.5s", "200us", "0"; up to an hour.
[[nodiscard]] Result<Nanoseconds> parse_duration(std::string_view text);
// Bits per second: "100M", "5.5M", "1G", "64K"; "none" is 0, which means no limit.
[[nodiscard]] Result<uint64_t> parse_rate(std::string_view text);
// Bytes: "250K", "4M", "1500"; thousands, as rates are.
[[nodiscard]] Result<uint64_t> parse_bytes(std::string_view text);
// "0.5%" or "0.005", from 0 to 1.
[[nodiscard]] Result<double> parse_share(std::string_view text);
[[nodiscard]] Result<uint64_t> parse_count(std::string_view text, uint64_t max);

[[nodiscard]] std::string duration_text(Nanoseconds duration);  // "80 ms", "1.5 s", "37 us"
[[nodiscard]] std::string rate_text(uint64_t bits_per_second);  // "100 Mbit/s", "no limit"
[[nodiscard]] std::string bytes_text(uint64_t bytes);           // "250 KB"

}  // namespace splitd::lab

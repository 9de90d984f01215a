#include "tests/lab/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace splitd::lab {
namespace {

Error bad(std::string_view what, std::string_view text, std::string_view accepted) {
  return usage_error(std::string(what) + " \"" + std::string(text.substr(0, 60)) +
                     "\": " + std::string(accepted));
}

// The number at the front of `text`, which is left with what follows it.
bool take_number(std::string_view& text, double& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0 || text[0] == '-') return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool thousands(std::string_view unit, double& number) {
  constexpr std::array<std::pair<std::string_view, double>, 4> kUnits = {
      {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}}};
  for (const auto& [name, factor] : kUnits) {
    if (unit == name) {
      number *= factor;
      return true;
    }
  }
  return false;
}

std::string scaled(double value, std::string_view unit) {
  std::array<char, 32> text;
  const int length = std::snprintf(text.data(), text.size(), value < 10 ? "%.3g " : "%.4g ", value);
  return std::string(text.data(), static_cast<size_t>(length)) + std::string(unit);
}

}  // namespace

Result<Nanoseconds> parse_duration(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 4> kUnits = {
      {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}}};
  std::string_view rest = text;
  double number = 0;
  if (take_number(rest, number)) {
    if (rest.empty() && number == 0) return Nanoseconds{0};
    for (const auto& [name, factor] : kUnits) {
      if (rest == name && number * factor <= 3600e9) {
        return Nanoseconds{std::llround(number * factor)};
      }
    }
  }
  return bad("duration", text, "a number and one of ns, us, ms, s, at most 3600s");
}

Result<uint64_t> parse_rate(std::string_view text) {
  if (text == "none") return uint64_t{0};
  std::string_view rest = text;
  double number = 0;
  if (take_number(rest, number) && thousands(rest, number) && number >= 1e3 && number <= 1e12) {
    return static_cast<uint64_t>(std::llround(number));
  }
  return bad("rate", text, "bits per second with K, M or G, from 1K to 1000G, or none");
}

Result<uint64_t> parse_bytes(std::string_view text) {
  std::string_view rest = text;
  double number = 0;
  if (take_number(rest, number) && thousands(rest, number) && number <= 1e12) {
    return static_cast<uint64_t>(std::llround(number));
  }
  return bad("size", text, "bytes, or a number with K, M or G, at most 1000G");
}

Result<double> parse_share(std::string_view text) {
  std::string_view rest = text;
  double number = 0;
  if (take_number(rest, number)) {
    if (rest == "%") number /= 100;
    if ((rest.empty() || rest == "%") && number <= 1) return number;
  }
  return bad("share", text, "a percentage such as 0.5%, or a number from 0 to 1");
}

Result<uint64_t> parse_count(std::string_view text, uint64_t max) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number <= max) return number;
  return bad("number", text, "from 0 to " + std::to_string(max));
}

std::string duration_text(Nanoseconds duration) {
  const double ns = static_cast<double>(duration.count());
  if (ns == 0) return "0 ms";
  if (ns < 1e6) return scaled(ns / 1e3, "us");
  if (ns < 1e9) return scaled(ns / 1e6, "ms");
  return scaled(ns / 1e9, "s");
}

std::string rate_text(uint64_t bits_per_second) {
  const double bits = static_cast<double>(bits_per_second);
  if (bits_per_second == 0) return "no limit";
  if (bits < 1e6) return scaled(bits / 1e3, "Kbit/s");
  if (bits < 1e9) return scaled(bits / 1e6, "Mbit/s");
  return scaled(bits / 1e9, "Gbit/s");
}

std::string bytes_text(uint64_t bytes) {
  const double count = static_cast<double>(bytes);
  if (count < 1e3) return scaled(count, "B");
  if (count < 1e6) return scaled(count / 1e3, "KB");
  if (count < 1e9) return scaled(count / 1e6, "MB");
  return scaled(count / 1e9, "GB");
}

}  // namespace splitd::lab

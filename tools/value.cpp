// The text of one flag → its value: numbers, sizes, durations, lists and ranges.
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/base/checked.h"
#include "tools/arguments.h"
#include "tools/output.h"
#include "tools/suggest.h"

namespace splitd::cli {
namespace {

// All of `text` as a T, or nothing.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Unit {
  std::string_view suffix;
  uint64_t factor;
};

constexpr std::array kSizeUnits = {Unit{"", 1},
                                   Unit{"B", 1},
                                   Unit{"K", uint64_t{1} << 10},
                                   Unit{"M", uint64_t{1} << 20},
                                   Unit{"G", uint64_t{1} << 30},
                                   Unit{"T", uint64_t{1} << 40},
                                   Unit{"KiB", uint64_t{1} << 10},
                                   Unit{"MiB", uint64_t{1} << 20},
                                   Unit{"GiB", uint64_t{1} << 30},
                                   Unit{"TiB", uint64_t{1} << 40}};

constexpr std::array kTimeUnits = {Unit{"us", 1'000}, Unit{"ms", 1'000'000},
                                   Unit{"s", 1'000'000'000}, Unit{"m", 60'000'000'000},
                                   Unit{"h", 3'600'000'000'000}};

// "1.5G" in units of one: whole numbers exactly, decimals rounded down.
template <size_t n>
std::optional<uint64_t> parse_scaled(std::string_view text, const std::array<Unit, n>& units) {
  constexpr double kTooLarge = 9.0e18;  // below 2^63, so that both size and duration fit
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, digits);
  for (const Unit& unit : units) {
    if (text.substr(digits) != unit.suffix) continue;
    if (const std::optional<uint64_t> whole = parse_number<uint64_t>(number)) {
      const std::optional<uint64_t> product = checked_mul(*whole, unit.factor);
      if (!product || static_cast<double>(*product) > kTooLarge) return std::nullopt;
      return product;
    }
    const std::optional<double> decimal = parse_number<double>(number);
    if (!decimal || *decimal * static_cast<double>(unit.factor) > kTooLarge) return std::nullopt;
    return static_cast<uint64_t>(*decimal * static_cast<double>(unit.factor));
  }
  return std::nullopt;
}

std::optional<std::vector<int64_t>> parse_integers(std::string_view text) {
  std::vector<int64_t> values;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::optional<int64_t> value = parse_number<int64_t>(text.substr(begin, end - begin));
    if (!value) return std::nullopt;
    values.push_back(*value);
    begin = end + 1;
  }
  return values;
}

std::optional<Range> parse_range(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto begin = parse_number<uint64_t>(text.substr(0, colon));
  const auto end = parse_number<uint64_t>(text.substr(colon + 1));
  if (!begin || !end || *begin >= *end) return std::nullopt;
  return Range{*begin, *end};
}

bool within(const Flag& flag, double value) {
  return value >= flag.min && value <= flag.max;
}

std::optional<Value> parse_kind(const Flag& flag, std::string_view text) {
  switch (flag.kind) {
    case FlagKind::boolean:
      if (text == "true" || text == "false") return text == "true";
      return std::nullopt;
    case FlagKind::integer: {
      const auto value = parse_number<int64_t>(text);
      if (!value || !within(flag, static_cast<double>(*value))) return std::nullopt;
      return *value;
    }
    case FlagKind::real: {
      const auto value = parse_number<double>(text);
      if (!value || !std::isfinite(*value) || !within(flag, *value)) return std::nullopt;
      return *value;
    }
    case FlagKind::size: {
      const auto value = parse_scaled(text, kSizeUnits);
      if (!value || !within(flag, static_cast<double>(*value))) return std::nullopt;
      return *value;
    }
    case FlagKind::duration: {
      const auto value = text == "0" ? 0 : parse_scaled(text, kTimeUnits);
      if (!value) return std::nullopt;
      return std::chrono::nanoseconds(static_cast<int64_t>(*value));
    }
    case FlagKind::text:
      return std::string(text);
    case FlagKind::choice:
      for (const std::string_view choice : split_choices(flag.choices)) {
        if (text == choice) return std::string(text);
      }
      return std::nullopt;
    case FlagKind::integers:
      if (auto values = parse_integers(text)) {
        for (const int64_t value : *values) {
          if (!within(flag, static_cast<double>(value))) return std::nullopt;
        }
        return std::move(*values);
      }
      return std::nullopt;
    case FlagKind::range:
      if (const auto range = parse_range(text)) return *range;
      return std::nullopt;
    case FlagKind::file:
    case FlagKind::directory:
      if (text.empty() || text.find('\0') != std::string_view::npos) return std::nullopt;
      return std::string(text);
  }
  return std::nullopt;
}

// 1000000 and 0.5, not 1e+06 and 0.500000.
std::string short_number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::abs(value) <= kExact && value == std::trunc(value)) {
    return std::to_string(static_cast<int64_t>(value));
  }
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string with_bounds(const Flag& flag, std::string what) {
  const bool low = std::isfinite(flag.min);
  const bool high = std::isfinite(flag.max);
  if (low && high)
    return what + " from " + short_number(flag.min) + " to " + short_number(flag.max);
  if (low) return what + " of at least " + short_number(flag.min);
  if (high) return what + " of at most " + short_number(flag.max);
  return what;
}

}  // namespace

std::vector<std::string_view> split_choices(std::string_view choices) {
  std::vector<std::string_view> words;
  while (!choices.empty()) {
    const size_t end = std::min(choices.find('|'), choices.size());
    words.push_back(choices.substr(0, end));
    choices.remove_prefix(std::min(end + 1, choices.size()));
  }
  return words;
}

std::string one_of(std::string_view choices) {
  std::string all;
  for (const std::string_view choice : split_choices(choices)) {
    all += all.empty() ? "one of " : ", ";
    all += choice;
  }
  return all;
}

std::string accepted(const Flag& flag) {
  switch (flag.kind) {
    case FlagKind::boolean:
      return "true or false";
    case FlagKind::integer:
      return with_bounds(flag, "an integer");
    case FlagKind::real:
      return with_bounds(flag, "a number");
    case FlagKind::size:
      return with_bounds(flag, "a size such as 4096, 512M or 2G");
    case FlagKind::duration:
      return "a time such as 250ms, 60s or 5m";
    case FlagKind::text:
      return "a text";
    case FlagKind::choice:
      return one_of(flag.choices);
    case FlagKind::integers:
      return with_bounds(flag, "a list such as 1,2,3, each an integer");
    case FlagKind::range:
      return "a range A:B with 0 <= A < B";
    case FlagKind::file:
    case FlagKind::directory:
      return "a path";
  }
  return {};
}

Result<Value> parse_value(const Flag& flag, std::string_view text) {
  if (std::optional<Value> value = parse_kind(flag, text)) return std::move(*value);
  std::string message = quoted(text) + " is not " + accepted(flag);
  if (flag.kind == FlagKind::choice) message += did_you_mean(text, split_choices(flag.choices));
  return usage_error(std::move(message));
}

}  // namespace splitd::cli

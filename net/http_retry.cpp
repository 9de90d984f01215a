#include "net/http_retry.h"

#include <algorithm>

#include "net/http1.h"

namespace splitd::net {

Backoff::Backoff(const RetryPolicy& policy) : policy_(policy), random_(std::random_device{}()) {}

std::optional<milliseconds> Backoff::next() {
  if (++used_ >= policy_.attempts) return std::nullopt;
  const int doublings = std::min(used_ - 1, 20);
  const int64_t whole = std::min(policy_.first.count() << doublings, policy_.most.count());
  std::uniform_int_distribution<int64_t> upper_half(whole - whole / 2, whole);
  return milliseconds(upper_half(random_));
}

bool is_transient_status(int status) {
  return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

std::optional<std::chrono::system_clock::time_point> parse_http_date(std::string_view text) {
  using namespace std::chrono;
  static constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  // 0    5  8   12   17       25
  // Sun, 06 Nov 1994 08:49:37 GMT
  static constexpr std::string_view kShape = "???, ## ??? #### ##:##:## GMT";
  if (text.size() != kShape.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == '#' ? !digit : kShape[i] != '?' && kShape[i] != text[i]) return std::nullopt;
  }
  const auto number = [&](size_t at, size_t count) {
    return static_cast<int>(*parse_decimal(text.substr(at, count)));
  };
  const size_t day_name = kDays.find(text.substr(0, 3));
  const size_t month_name = kMonths.find(text.substr(8, 3));
  if (day_name == kDays.npos || day_name % 3 != 0) return std::nullopt;
  if (month_name == kMonths.npos || month_name % 3 != 0) return std::nullopt;
  const year_month_day date{year(number(12, 4)), month(static_cast<unsigned>(month_name / 3 + 1)),
                            day(static_cast<unsigned>(number(5, 2)))};
  const int hour = number(17, 2);
  const int minute = number(20, 2);
  const int second = number(23, 2);
  // Beyond these years the clock's nanoseconds overflow, and no server means them.
  if (date.year() < year(1970) || date.year() > year(2200)) return std::nullopt;
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
}

// The t of `"resolvers";r=0;t=55`: seconds until the window ends.
static std::optional<uint64_t> rate_limit_reset(std::string_view value) {
  while (true) {
    const size_t semicolon = value.find(';');
    if (semicolon == std::string_view::npos) return std::nullopt;
    value = trim_blanks(value.substr(semicolon + 1));
    if (!value.starts_with("t=")) continue;
    return parse_decimal(value.substr(2, value.find_first_of(";,", 2) - 2));
  }
}

std::optional<milliseconds> retry_after(const HttpFields& fields,
                                        std::chrono::system_clock::time_point now) {
  // Larger numbers are as good as this one: far above any limit, and no product overflows.
  static constexpr uint64_t kMostSeconds = 1'000'000'000;
  const auto from_seconds = [](uint64_t seconds) {
    return milliseconds(1000 * static_cast<int64_t>(std::min(seconds, kMostSeconds)));
  };
  if (const auto text = fields.find("Retry-After")) {
    if (const auto seconds = parse_decimal(*text)) return from_seconds(*seconds);
    if (const auto date = parse_http_date(*text)) {
      const auto left = std::chrono::ceil<milliseconds>(*date - now);
      return std::max(left, milliseconds(0));
    }
  }
  if (const auto text = fields.find("RateLimit")) {
    if (const auto seconds = rate_limit_reset(*text)) return from_seconds(*seconds);
  }
  return std::nullopt;
}

}  // namespace splitd::net

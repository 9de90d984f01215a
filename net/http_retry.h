// Owns: when a failed HTTP request is worth repeating, and when. Pure but for the jitter.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>

#include "net/http_fields.h"
#include "net/limits.h"

namespace splitd::net {

using std::chrono::milliseconds;

struct RetryPolicy {
  int attempts = limits::kHttpAttempts;  // the first included
  milliseconds first = limits::kBackoffFirst;
  milliseconds most = limits::kBackoffMost;
  milliseconds retry_after_most = limits::kRetryAfterMost;
};

// The waits between attempts: first, 2·first, 4·first … up to `most`, each shortened by up to half
// at random, so that many clients of one server do not come back together.
class Backoff {
 public:
  explicit Backoff(const RetryPolicy& policy);
  std::optional<milliseconds> next();  // nothing: give up
  void progress() { used_ = 0; }       // something came through: start over

 private:
  RetryPolicy policy_;
  int used_ = 0;
  std::minstd_rand random_;
};

// 408, 429 and what a server or gateway says when it is overloaded or restarting.
[[nodiscard]] bool is_transient_status(int status);

// Retry-After as seconds or as a date, or else the hub's `RateLimit: "…";r=0;t=55`. Never negative.
[[nodiscard]] std::optional<milliseconds> retry_after(const HttpFields& fields,
                                                      std::chrono::system_clock::time_point now);

// "Sun, 06 Nov 1994 08:49:37 GMT", the one form that may be sent today.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_http_date(
    std::string_view text);

}  // namespace splitd::net

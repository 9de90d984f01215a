#include "net/http_retry.h"

#include <gtest/gtest.h>

#include <set>

namespace splitd::net {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

HttpFields one(std::string name, std::string value) {
  HttpFields fields;
  fields.add(std::move(name), std::move(value));
  return fields;
}

TEST(HttpRetry, ReadsDates) {
  const auto date = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
  ASSERT_TRUE(date.has_value());
  EXPECT_EQ(system_clock::to_time_t(*date), 784111777);
  for (const char* text : {"", "Sun, 06 Nov 1994 08:49:37 UTC", "Xxx, 06 Nov 1994 08:49:37 GMT",
                           "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
                           "Sun, 06 Nov 0994 08:49:37 GMT", "Sun, 06 Nov 9994 08:49:37 GMT",
                           "unN, 06 Nov 1994 08:49:37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 6 Nov 1994 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_http_date(text).has_value()) << text;
  }
}

TEST(HttpRetry, ReadsWhatTheServerWants) {
  const system_clock::time_point now = *parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(retry_after(one("Retry-After", "120"), now), seconds(120));
  EXPECT_EQ(retry_after(one("retry-after", "0"), now), seconds(0));
  EXPECT_EQ(retry_after(one("Retry-After", "Sun, 06 Nov 1994 08:50:00 GMT"), now), seconds(23));
  EXPECT_EQ(retry_after(one("Retry-After", "Sun, 06 Nov 1994 08:00:00 GMT"), now), seconds(0));
  EXPECT_EQ(retry_after(one("RateLimit", "\"resolvers\";r=0;t=55"), now), seconds(55));
  EXPECT_FALSE(retry_after(one("RateLimit", "\"resolvers\";r=0"), now).has_value());
  EXPECT_FALSE(retry_after(one("Retry-After", "-1"), now).has_value());
  EXPECT_FALSE(retry_after(one("Retry-After", "soon"), now).has_value());
  EXPECT_FALSE(retry_after({}, now).has_value());
  EXPECT_GT(*retry_after(one("Retry-After", "18446744073709551615"), now), seconds(1'000'000));
}

TEST(HttpRetry, BacksOffAndGivesUp) {
  RetryPolicy policy;
  policy.attempts = 6;
  policy.first = milliseconds(100);
  policy.most = milliseconds(500);
  std::set<int64_t> seen;
  for (int round = 0; round < 20; ++round) {
    Backoff backoff(policy);
    for (const int64_t whole : {100, 200, 400, 500, 500}) {
      const auto wait = backoff.next();
      ASSERT_TRUE(wait.has_value());
      EXPECT_GE(wait->count(), whole / 2);
      EXPECT_LE(wait->count(), whole);
      seen.insert(wait->count());
    }
    EXPECT_FALSE(backoff.next().has_value());
    backoff.progress();
    EXPECT_TRUE(backoff.next().has_value());
  }
  EXPECT_GT(seen.size(), 10u);  // jitter
}

}  // namespace
}  // namespace splitd::net

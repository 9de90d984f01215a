// The arithmetic of a link, to the nanosecond, and how its numbers are written.
#include "tests/lab/link.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/lab/forwarder.h"
#include "tests/lab/packet_line.h"

namespace splitd::lab {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

const Time kStart = Time{} + std::chrono::hours(1);

Link make_link(const LinkSettings& settings, Nanoseconds round_trip = Nanoseconds{0},
               uint64_t seed = 1) {
  Link link(seed);
  link.set(settings, round_trip);
  return link;
}

TEST(Link, DelaysAndSerialises) {
  LinkSettings settings;
  settings.delay = milliseconds(40);
  settings.bits_per_second = 100'000'000;
  Link link = make_link(settings);
  // 1500 bytes at 100 Mbit/s take 120 us on the wire.
  EXPECT_EQ(link.offer(kStart, 1500).due, kStart + milliseconds(40) + microseconds(120));
  EXPECT_EQ(link.offer(kStart, 1500).due, kStart + milliseconds(40) + microseconds(240));
  // An idle time is not made up for.
  const Time later = kStart + milliseconds(10);
  EXPECT_EQ(link.offer(later, 750).due, later + milliseconds(40) + microseconds(60));
}

TEST(Link, NeitherRateNorDelayIsNeitherTime) {
  Link link = make_link({});
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(link.offer(kStart, 1500).due, kStart);
}

TEST(Link, QueueDropsItsTail) {
  LinkSettings settings;
  settings.bits_per_second = 12'000'000;  // 1 ms a packet
  settings.queue_bytes = 4500;
  Link link = make_link(settings);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(link.offer(kStart, 1500).fate, Fate::delivered);
  EXPECT_EQ(link.offer(kStart, 1500).fate, Fate::queue_full);
  EXPECT_EQ(link.offer(kStart, 1).fate, Fate::queue_full);
  // A millisecond later one has left.
  EXPECT_EQ(link.offer(kStart + milliseconds(1), 1500).fate, Fate::delivered);
  EXPECT_EQ(link.offer(kStart + milliseconds(1), 1500).fate, Fate::queue_full);
  // An idle wire takes a packet that no queue would hold.
  settings.queue_bytes = 100;
  link = make_link(settings);
  EXPECT_EQ(link.offer(kStart, 1500).fate, Fate::delivered);
  EXPECT_EQ(link.offer(kStart, 50).fate, Fate::queue_full);
}

TEST(Link, QueueDefaultsToOneBandwidthDelayProduct) {
  LinkSettings settings;
  settings.bits_per_second = 100'000'000;
  EXPECT_EQ(make_link(settings, milliseconds(80)).queue_bytes(), 1'000'000u);
  EXPECT_EQ(make_link(settings, milliseconds(1)).queue_bytes(), 30'000u);
  settings.queue_bytes = 7;
  EXPECT_EQ(make_link(settings, milliseconds(80)).queue_bytes(), 7u);
  EXPECT_EQ(make_link({}, milliseconds(80)).queue_bytes(), UINT64_MAX);
}

std::vector<bool> losses(double share, uint64_t seed) {
  LinkSettings settings;
  settings.loss = share;
  Link link = make_link(settings, Nanoseconds{0}, seed);
  std::vector<bool> lost;
  for (int i = 0; i < 100'000; ++i) lost.push_back(link.offer(kStart, 100).fate == Fate::lost);
  return lost;
}

TEST(Link, LosesItsShareAndTheSameOnesForASeed) {
  const std::vector<bool> first = losses(0.02, 7);
  EXPECT_NEAR(static_cast<double>(std::count(first.begin(), first.end(), true)), 2000, 250);
  EXPECT_EQ(first, losses(0.02, 7));
  EXPECT_NE(first, losses(0.02, 8));
  const std::vector<bool> none = losses(0, 7);
  EXPECT_EQ(std::count(none.begin(), none.end(), true), 0);
  const std::vector<bool> all = losses(1, 7);
  EXPECT_EQ(std::count(all.begin(), all.end(), true), 100'000);
}

TEST(Link, CutsUntilATimeOrUntilResumed) {
  LinkSettings settings;
  settings.bits_per_second = 12'000'000;
  Link link = make_link(settings);
  link.offer(kStart, 15'000);  // 10 ms that the cut takes away
  link.cut(kStart + milliseconds(2));
  EXPECT_EQ(link.offer(kStart + milliseconds(1), 1500).fate, Fate::cut);
  const Time after = kStart + milliseconds(2);
  EXPECT_EQ(link.offer(after, 1500).due,
            std::max(after + milliseconds(1), kStart + milliseconds(10)));
  link.cut(Time::max());
  EXPECT_EQ(link.offer(after + std::chrono::hours(1), 1500).fate, Fate::cut);
  link.resume();
  EXPECT_EQ(link.offer(after + std::chrono::hours(1), 1500).fate, Fate::delivered);
}

TEST(Link, NothingOvertakes) {
  LinkSettings settings;
  settings.delay = milliseconds(100);
  Link link = make_link(settings);
  const Time first = link.offer(kStart, 100).due;
  settings.delay = milliseconds(1);
  link.set(settings, milliseconds(2));
  EXPECT_EQ(link.offer(kStart + milliseconds(1), 100).due, first);
  EXPECT_EQ(link.offer(kStart + milliseconds(200), 100).due, kStart + milliseconds(201));
}

TEST(PacketLine, KeepsOrderAndBytesAsItGrows) {
  PacketLine line(8, 2);
  size_t pushed = 0;
  size_t popped = 0;
  for (size_t round = 1; round < 40; ++round) {
    for (size_t i = 0; i < round; ++i, ++pushed) {
      line.back()[0] = static_cast<std::byte>(pushed);
      line.push(1 + pushed % 8, kStart + microseconds(pushed));
    }
    for (size_t i = 0; i < round - round / 3; ++i, ++popped) {
      ASSERT_EQ(line.front()[0], static_cast<std::byte>(popped));
      ASSERT_EQ(line.front().size(), 1 + popped % 8);
      ASSERT_EQ(line.due(), kStart + microseconds(popped));
      line.pop();
    }
    ASSERT_EQ(line.size(), pushed - popped);
  }
  line.clear();
  EXPECT_TRUE(line.empty());
}

TEST(Lateness, NamesTheUpperEdgeOfAClass) {
  Lateness late;
  EXPECT_EQ(late.share(0.5), Nanoseconds{0});
  for (int i = 1; i <= 1000; ++i) late.add(microseconds(i));
  EXPECT_EQ(late.max(), microseconds(1000));
  const Nanoseconds median = late.share(0.5);
  EXPECT_GE(median, microseconds(500));
  EXPECT_LE(median, microseconds(570));  // an eighth of an octave
  EXPECT_GE(late.share(0.99), microseconds(990));
  EXPECT_EQ(late.share(1), microseconds(1000));
}

TEST(Units, ReadsWhatPeopleWrite) {
  EXPECT_EQ(*parse_duration("80ms"), milliseconds(80));
  EXPECT_EQ(*parse_duration("1.5s"), milliseconds(1500));
  EXPECT_EQ(*parse_duration("200us"), microseconds(200));
  EXPECT_EQ(*parse_duration("0"), Nanoseconds{0});
  EXPECT_EQ(*parse_rate("100M"), 100'000'000u);
  EXPECT_EQ(*parse_rate("5.5M"), 5'500'000u);
  EXPECT_EQ(*parse_rate("none"), 0u);
  EXPECT_EQ(*parse_bytes("250K"), 250'000u);
  EXPECT_EQ(*parse_bytes("1500"), 1500u);
  EXPECT_DOUBLE_EQ(*parse_share("0.5%"), 0.005);
  EXPECT_DOUBLE_EQ(*parse_share("0.02"), 0.02);
  EXPECT_EQ(duration_text(milliseconds(80)), "80 ms");
  EXPECT_EQ(duration_text(microseconds(37)), "37 us");
  EXPECT_EQ(rate_text(100'000'000), "100 Mbit/s");
  EXPECT_EQ(rate_text(0), "no limit");
  EXPECT_EQ(bytes_text(250'000), "250 KB");
}

TEST(Units, RefusesTheRest) {
  for (const char* text :
       {"", "80", "ms", "-1ms", "-0ms", "80 ms", "80msx", "nan s", "infs", "1e9s", "0x1ms"}) {
    EXPECT_FALSE(parse_duration(text).ok()) << text;
  }
  for (const char* text : {"", "0", "M", "-1M", "5Mbit", "1T", "500", "inf"}) {
    EXPECT_FALSE(parse_rate(text).ok()) << text;
  }
  for (const char* text : {"", "101%", "1.1", "-1%", "5%%", "x"}) {
    EXPECT_FALSE(parse_share(text).ok()) << text;
  }
  for (const char* text : {"", "-1", "1500B", "K"}) EXPECT_FALSE(parse_bytes(text).ok()) << text;
  EXPECT_FALSE(parse_count("70000", 65535).ok());
}

}  // namespace
}  // namespace splitd::lab

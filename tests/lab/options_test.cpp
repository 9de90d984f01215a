// The lab's command line, and the same words to a lab that runs.
#include "tests/lab/options.h"

#include <gtest/gtest.h>

namespace splitd::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(LabOptions, SetsBothWaysAndOne) {
  const auto options = parse_options({"--rtt", "81ms", "--rate=100M", "--down", "1G", "--loss-up",
                                      "0.5%", "--queue", "250K", "--queue-down", "BDP", "--server",
                                      "serve {port}", "--port", "8000", "--", "ask", "--loud"});
  ASSERT_TRUE(options.ok()) << options.error().message;
  const LinkPair& links = options->links;
  EXPECT_EQ(links.round_trip(), milliseconds(81));
  EXPECT_EQ(links.up.bits_per_second, 100'000'000u);
  EXPECT_EQ(links.down.bits_per_second, 1'000'000'000u);
  EXPECT_DOUBLE_EQ(links.up.loss, 0.005);
  EXPECT_DOUBLE_EQ(links.down.loss, 0);
  EXPECT_EQ(links.up.queue_bytes, 250'000u);
  EXPECT_FALSE(links.down.queue_bytes.has_value());
  EXPECT_EQ(options->server, "serve {port}");
  EXPECT_EQ(options->client, (std::vector<std::string>{"ask", "--loud"}));
  EXPECT_EQ(options->port, 8000);
}

TEST(LabOptions, ReadsCuts) {
  const auto options = parse_options({"--cut", "5s:2s", "--cut", "1s:500ms:up", "--self-test"});
  ASSERT_TRUE(options.ok());
  ASSERT_EQ(options->cuts.size(), 2u);
  EXPECT_EQ(options->cuts[0].at, seconds(5));
  EXPECT_EQ(options->cuts[0].time, seconds(2));
  EXPECT_TRUE(options->cuts[0].up && options->cuts[0].down);
  EXPECT_TRUE(options->cuts[1].up);
  EXPECT_FALSE(options->cuts[1].down);
  auto now = parse_cut("2s down");
  EXPECT_EQ(now->at, Nanoseconds{0});
  EXPECT_EQ(now->time, seconds(2));
  EXPECT_FALSE(now->up);
  now = parse_cut("");
  EXPECT_FALSE(now->time.has_value());
  EXPECT_FALSE(parse_cut("1s:2s:3s").ok());
  EXPECT_FALSE(parse_cut("soon").ok());
}

TEST(LabOptions, SaysWhatIsWrong) {
  const auto message = [](const std::vector<std::string>& words) {
    const auto options = parse_options(words);
    return options.ok() ? std::string() : options.error().message;
  };
  EXPECT_EQ(message({"--rtt"}), "--rtt needs a value");
  EXPECT_EQ(message({"--rtt", "80"}),
            "--rtt: duration \"80\": a number and one of ns, us, ms, s, at most 3600s");
  EXPECT_EQ(message({"--rtt-up", "80ms"}).substr(0, 32), "--rtt-up: link setting \"rtt-up\":");
  EXPECT_EQ(message({"--speed", "1M"}), "--speed: no such flag; see --help");
  EXPECT_EQ(message({"--quiet=yes"}), "--quiet takes no value");
  EXPECT_EQ(message({"ask"}), "\"ask\": the client's command stands after --");
  EXPECT_EQ(message({"--client", "ask"}), "--server is missing; see --help");
  EXPECT_EQ(message({"--server", "serve"}), "the client's command is missing; see --help");
  EXPECT_EQ(message({"--mtu", "100"}), "--mtu: 100: from 576 to 65535");
}

TEST(LabOptions, AFailedSettingChangesNothing) {
  LinkPair links;
  ASSERT_TRUE(set_link(links, "rate", "10M").ok());
  EXPECT_FALSE(set_link(links, "rate", "fast").ok());
  EXPECT_FALSE(set_link(links, "colour", "red").ok());
  EXPECT_EQ(links.up.bits_per_second, 10'000'000u);
  EXPECT_EQ(links.down.bits_per_second, 10'000'000u);
  ASSERT_TRUE(set_link(links, "up", "none").ok());
  EXPECT_EQ(links.up.bits_per_second, 0u);
}

}  // namespace
}  // namespace splitd::lab

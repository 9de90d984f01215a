#include "runtime/decode/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace splitd {
namespace {

// The text shown when `text` arrives in pieces that end at `cuts`; "|" marks a stop.
std::string shown(const StopStrings& fresh, std::string_view text,
                  const std::vector<size_t>& cuts) {
  StopStrings stops = fresh;
  std::string out;
  size_t at = 0;
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const size_t end = i < cuts.size() ? cuts[i] : text.size();
    const StopStrings::Step step = stops.push(text.substr(at, end - at));
    out += step.text;
    if (step.stopped) return out + "|";
    at = end;
  }
  return out + stops.finish();
}

TEST(StopStrings, StopsBeforeTheString) {
  const StopStrings stops({"\n\n", "END"});
  EXPECT_EQ(shown(stops, "one\ntwo\n\nthree", {}), "one\ntwo|");
  EXPECT_EQ(shown(stops, "an EN", {}), "an EN");
  EXPECT_EQ(shown(stops, "END", {}), "|");
  EXPECT_EQ(shown(StopStrings({}), "END", {1}), "END");
  EXPECT_EQ(shown(StopStrings({""}), "END", {1}), "END");
}

TEST(StopStrings, HoldsBackOnlyWhatCouldStop) {
  StopStrings stops({"abab"});
  EXPECT_EQ(stops.push("xaba").text, "x");
  EXPECT_EQ(stops.push("c").text, "abac");
  EXPECT_EQ(stops.push("aab").text, "a");
  EXPECT_TRUE(stops.push("ab").stopped);
}

TEST(StopStrings, CutsDoNotMatter) {
  std::mt19937 random(1);
  size_t stopped = 0;
  for (int round = 0; round < 4000; ++round) {
    const auto word = [&](size_t most) {
      std::string out(random() % (most + 1), 'a');
      for (char& c : out) c = static_cast<char>('a' + random() % 2);
      return out;
    };
    const StopStrings stops({word(5), word(4)});
    const std::string text = word(14);
    std::vector<size_t> cuts;
    for (size_t i = 1; i < text.size(); ++i) {
      if (random() % 3 == 0) cuts.push_back(i);
    }
    const std::string whole = shown(stops, text, {});
    ASSERT_EQ(shown(stops, text, cuts), whole);
    stopped += whole.ends_with('|') ? 1 : 0;
  }
  EXPECT_GT(stopped, 1000u);
  EXPECT_LT(stopped, 3900u);
}

}  // namespace
}  // namespace splitd

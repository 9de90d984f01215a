#include "runtime/decode/drafters/align_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace splitd {
namespace {

// Characters are tokens: records are read as they are written.
class Align : public testing::Test {
 protected:
  void read(std::string_view text) {
    for (const char c : text) model_.append(static_cast<unsigned char>(c), true);
  }
  static char likeliest(const AlignModel& model, const AlignModel::Place& place) {
    std::vector<Guess> out;
    model.guesses(place, out);
    if (out.empty()) return 0;
    const auto best = std::max_element(out.begin(), out.end(), [](const Guess& a, const Guess& b) {
      return a.probability < b.probability;
    });
    return static_cast<char>(best->token);
  }
  // What it would write from here on, by itself.
  std::string go_on(size_t n) const {
    std::string out;
    AlignModel::Place place = model_.end();
    for (; n > 0; --n) {
      const char next = likeliest(model_, place);
      if (next == 0) break;
      out.push_back(next);
      place = model_.enter(place, static_cast<unsigned char>(next));
    }
    return out;
  }

  AlignModel model_;
};

constexpr std::string_view kRecords =
    "{\"id\":1,\"name\":\"Ann\",\"age\":31},\n"
    "{\"id\":2,\"name\":\"Bob\",\"age\":42},\n";

TEST_F(Align, KnowsTheFieldAfterAValueThatIsNew) {
  read(kRecords);
  read("{\"id\":3,\"name\":\"Zoltan\"");
  EXPECT_EQ(go_on(7), ",\"age\":");
}

TEST_F(Align, KnowsTheFieldAfterOneThatIsShorterOrLonger) {
  for (const char* value : {"7", "123456"}) {
    model_ = {};
    read(kRecords);
    read("{\"id\":");
    read(value);
    read(",");
    EXPECT_EQ(go_on(8), "\"name\":\"") << value;
  }
}

TEST_F(Align, GoesOnWhereSomethingWasLeftOut) {
  read("one two three four five six seven\n");
  read("one two five");
  EXPECT_EQ(go_on(10), " six seven");
}

TEST_F(Align, GoesOnWhereSomethingWasPutIn) {
  read("one two three four five six seven\n");
  read("one two and a half three");
  EXPECT_EQ(go_on(10), " four five");
}

TEST_F(Align, WhatChangedBeforeIsLessLikelyThanWhatStayed) {
  read("a:11;b:x;c:0\na:22;b:x;c:0\na:33;b:x;c:0\na:44;b:x;c:0\na:");
  const auto best = [&] {
    std::vector<Guess> out;
    model_.guesses(model_.end(), out);
    float p = 0;
    for (const Guess& guess : out) p = std::max(p, guess.probability);
    return p;
  };
  const float value = best();
  read("55;b:");
  EXPECT_GT(best(), value + 0.2f);
}

TEST_F(Align, SaysNothingWhereNothingStoodBefore) {
  read("abcdefghijklmnop");
  std::vector<Guess> out;
  model_.guesses(model_.end(), out);
  EXPECT_TRUE(out.empty());
}

TEST_F(Align, AnotherTextIsNotGoneAlong) {
  read(kRecords);
  EXPECT_FALSE(go_on(1).empty());
  model_.begin_text();
  EXPECT_TRUE(go_on(1).empty());
  read("{\"id\":");  // …until it says the same
  EXPECT_FALSE(go_on(1).empty());
}

// Far beyond what it keeps, with texts that begin anywhere: guesses stay valid, and places of
// guesses too.
TEST_F(Align, ForgetsTheOldestAndGoesOn) {
  std::mt19937 generator(1);
  const auto random = [&] { return static_cast<uint32_t>(generator()); };
  std::vector<uint32_t> piece(200);
  for (uint32_t& token : piece) token = random() % 50;
  std::vector<Guess> out;
  size_t n_guess = 0;
  for (uint32_t i = 0; i < 3 * AlignModel::kCapacity; ++i) {
    if (random() % 5000 == 0) model_.begin_text();
    model_.append(random() % 10 == 0 ? random() % 50 : piece[i % piece.size()], random() % 2 == 0);
    if (i % 64 != 0) continue;
    AlignModel::Place place = model_.end();
    for (int depth = 0; depth < 40; ++depth) {
      out.clear();
      model_.guesses(place, out);
      ASSERT_LE(out.size(), AlignModel::kMostGuesses);
      for (size_t a = 0; a < out.size(); ++a) {
        ASSERT_LT(out[a].token, 50u);
        ASSERT_GT(out[a].probability, 0);
        ASSERT_LT(out[a].probability, 1);
        for (size_t b = 0; b < a; ++b) ASSERT_NE(out[a].token, out[b].token);
      }
      n_guess += out.size();
      place = model_.enter(place, out.empty() ? random() % 50 : out[random() % out.size()].token);
    }
  }
  EXPECT_GT(n_guess, 1000u);
}

}  // namespace
}  // namespace splitd

#include "runtime/decode/drafters/kin_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

using Clock = std::chrono::steady_clock;

// A language in which the row before decides what follows: rows of one kind are alike, and each
// kind has followers of its own.
class Kin : public testing::Test {
 protected:
  static constexpr uint32_t kKinds = 8;

  Kin() : backend_(std::vector<uint64_t>{0}), tokens_(backend_) {
    kin_.use(tokens_);
    for (auto& kind : kinds_) {
      kind.resize(kSketch);
      for (float& x : kind) x = normal_(random_);
    }
  }

  // A row of this kind, with so much that is its own.
  std::vector<float> row_of(uint32_t kind, float noise) {
    std::vector<float> row = kinds_[kind], sketch(kSketch);
    for (float& x : row) x += noise * normal_(random_);
    sketch_row(row, sketch);
    return sketch;
  }
  static uint32_t follower(uint32_t kind, size_t rank) {
    return kind * 32 + static_cast<uint32_t>(rank);
  }
  // `says`: whose followers the row has.
  void learn(uint32_t kind, uint32_t says, float noise = 0.3f) {
    std::vector<uint32_t> top;
    std::vector<float> probability;
    for (size_t i = 0; i < KinModel::kTop; ++i) {
      top.push_back(follower(says, i));
      probability.push_back(0.5f / static_cast<float>(1 << i));
    }
    kin_.put(kind % 4, row_of(kind, noise), row_of(says, noise), top, probability);
    kin_.digest();
  }
  std::vector<Guess> ask(uint32_t kind, Clock::time_point until = Clock::time_point::max()) {
    kin_.begin_draft(row_of(kind, 0.3f), kind % 4, until);
    std::vector<Guess> out;
    kin_.guesses(kin_.root(), out);
    return out;
  }
  uint32_t n_right() {
    uint32_t n = 0;
    for (uint32_t kind = 0; kind < kKinds; ++kind) {
      const std::vector<Guess> guesses = ask(kind);
      n += !guesses.empty() && guesses[0].token == follower(kind, 0);
    }
    return n;
  }

  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
  std::array<std::vector<float>, kKinds> kinds_;
  FakeBackend backend_;
  TokenSketches tokens_;
  KinModel kin_;
};

TEST_F(Kin, RowsThatAreAlikeGoOnAlike) {
  for (uint32_t i = 0; i < 64; ++i) learn(i % kKinds, i % kKinds);
  EXPECT_EQ(n_right(), kKinds);
  const std::vector<Guess> guesses = ask(3);
  ASSERT_GE(guesses.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(guesses[i].token, follower(3, i));
  EXPECT_GT(guesses[0].probability, guesses[2].probability);
}

TEST_F(Kin, WhatContradictsItselfIsNotBelieved) {
  for (uint32_t i = 0; i < 64; ++i) learn(i % kKinds, random_() % kKinds);
  EXPECT_LT(n_right(), kKinds);
}

TEST_F(Kin, GuessesBelowGuesses) {
  // Kind k is followed by kind k + 1, whose own followers stand there.
  for (uint32_t i = 0; i < 128; ++i) learn(i % kKinds, (i + 1) % kKinds, 0.1f);
  kin_.begin_draft(row_of(2, 0.1f), 2, Clock::time_point::max());
  std::vector<Guess> out;
  ASSERT_TRUE(kin_.guesses(kin_.root(), out));
  EXPECT_EQ(out[0].token, follower(3, 0));
  const KinModel::Place next = kin_.enter(kin_.root(), 3 % 4);
  out.clear();
  ASSERT_TRUE(kin_.guesses(next, out));
  EXPECT_EQ(out[0].token, follower(4, 0));
}

TEST_F(Kin, FullItKeepsTheNewest) {
  for (uint32_t i = 0; i < KinModel::kRows + 10; ++i) learn(i % kKinds, (i + 1) % kKinds);
  for (uint32_t i = 0; i < 3 * KinModel::kRows; ++i) learn(i % kKinds, i % kKinds);
  EXPECT_EQ(n_right(), kKinds);
}

TEST_F(Kin, SaysNothingWithoutTimeOrKnowledge) {
  EXPECT_TRUE(ask(1).empty());
  EXPECT_FALSE(kin_.digest());
  for (uint32_t i = 0; i < 32; ++i) learn(i % kKinds, i % kKinds);
  EXPECT_FALSE(ask(1).empty());
  EXPECT_TRUE(ask(1, Clock::now() - std::chrono::seconds(1)).empty());
  kin_.begin_draft({}, 1, Clock::time_point::max());
  std::vector<Guess> out;
  EXPECT_FALSE(kin_.guesses(kin_.root(), out));
  EXPECT_EQ(kin_.enter(kin_.root(), 5), -1);
}

TEST_F(Kin, RowsThatAreNoNumbersDoNoHarm) {
  for (uint32_t i = 0; i < 32; ++i) learn(i % kKinds, i % kKinds);
  std::vector<float> bad(kSketch);
  std::vector<float> row(kSketch, std::numeric_limits<float>::quiet_NaN());
  sketch_row(row, bad);
  for (const float x : bad) EXPECT_EQ(x, 0);
  std::vector<uint32_t> top(KinModel::kTop);
  std::vector<float> probability(KinModel::kTop, std::numeric_limits<float>::quiet_NaN());
  kin_.put(1, row, row, top, probability);  // not even sketched
  kin_.digest();
  for (uint32_t i = 0; i < 64; ++i) learn(i % kKinds, i % kKinds);
  for (uint32_t kind = 0; kind < kKinds; ++kind) {
    for (const Guess& guess : ask(kind)) {
      EXPECT_TRUE(guess.probability >= 0 && guess.probability <= 1) << guess.probability;
    }
  }
}

TEST(RowSketch, KeepsLengthsAndAngles) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  constexpr size_t kWide = 4096;
  double most = 0;
  for (int i = 0; i < 50; ++i) {
    std::vector<float> a(kWide), b(kWide), sa(kSketch), sb(kSketch);
    for (float& x : a) x = normal(random);
    for (size_t j = 0; j < kWide; ++j) b[j] = 0.8f * a[j] + 0.6f * normal(random);
    sketch_row(a, sa);
    sketch_row(b, sb);
    double aa = 0, ab = 0;
    for (size_t j = 0; j < kSketch; ++j) {
      aa += double(sa[j]) * double(sa[j]);
      ab += double(sa[j]) * double(sb[j]);
    }
    EXPECT_NEAR(aa, 1, 1e-5);
    most = std::max(most, std::fabs(ab - 0.8));
  }
  EXPECT_LT(most, 0.2);
}

}  // namespace
}  // namespace splitd

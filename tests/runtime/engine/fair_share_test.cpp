// What rows cost, learnt from batches; rows shared out by it.
#include "runtime/engine/fair_share.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace splitd {
namespace {

TEST(RowCost, FindsBothCosts) {
  RowCost cost;
  EXPECT_GT(cost.ms({1, 0}), 0);
  std::mt19937 random(1);
  std::uniform_real_distribution<double> rows(8, 64), depth(1, 2000), noise(0.9, 1.1);
  for (int i = 0; i < 60; ++i) {
    RowLoad load{rows(random), 0};
    load.reach = load.rows * depth(random);
    cost.learn(load, (0.5 * load.rows + 0.002 * load.reach) * noise(random));
  }
  EXPECT_NEAR(cost.ms({1, 0}), 0.5, 0.15);
  EXPECT_NEAR(cost.ms({0, 1000}), 2.0, 0.2);
}

TEST(RowCost, FollowsAChange) {
  RowCost cost;
  std::mt19937 random(2);
  std::uniform_real_distribution<double> rows(8, 64), depth(1, 2000);
  for (int i = 0; i < 300; ++i) {
    RowLoad load{rows(random), 0};
    load.reach = load.rows * depth(random);
    cost.learn(load, (i < 200 ? 1.0 : 3.0) * (0.5 * load.rows + 0.002 * load.reach));
  }
  EXPECT_NEAR(cost.ms({1, 0}), 1.5, 0.1);
  EXPECT_NEAR(cost.ms({0, 1000}), 6.0, 0.1);
}

// Batches that are all alike, or that deny any cost of depth, or explain everything by it: whatever
// is believed of the two, a row costs something and such a batch costs what it did.
TEST(RowCost, StaysSensibleWhereLittleCanBeLearnt) {
  for (const double slope : {-0.001, 0.0, 0.01}) {
    RowCost alike, falling;
    for (int i = 0; i < 50; ++i) {
      alike.learn({32, 3200}, 10);
      const double depth = 100.0 + 30 * i;
      falling.learn({32, 32 * depth}, 10 + slope * depth);
    }
    EXPECT_NEAR(alike.ms({32, 3200}), 10, 0.1);
    for (const RowCost* cost : {&alike, &falling}) {
      EXPECT_GT(cost->ms({1, 0}), 0);
      EXPECT_GE(cost->ms({0, 1}), 0);
    }
    EXPECT_NEAR(falling.ms({32, 32 * 1500.0}), 10 + slope * 1500, 3);
  }
  RowCost nothing;
  nothing.learn({0, 0}, 1);
  nothing.learn({4, 10}, 0);
  EXPECT_EQ(nothing.ms({3, 0}), 3);
}

std::vector<size_t> shared(std::vector<RowClaim> claims, size_t room) {
  share_rows(claims, room);
  std::vector<size_t> out;
  for (const RowClaim& claim : claims) out.push_back(claim.rows);
  return out;
}

TEST(ShareRows, AllHadTheSameAfterwards) {
  using Rows = std::vector<size_t>;
  EXPECT_EQ(shared({}, 5), Rows{});
  EXPECT_EQ(shared({{0, 1, 10}, {90, 7, 3}}, 13), (Rows{10, 3}));    // room for all
  EXPECT_EQ(shared({{0, 1, 99}, {0, 1, 99}}, 40), (Rows{20, 20}));   // alike
  EXPECT_EQ(shared({{0, 1, 99}, {0, 3, 99}}, 40), (Rows{30, 10}));   // by cost
  EXPECT_EQ(shared({{5, 1, 99}, {25, 1, 99}}, 40), (Rows{30, 10}));  // by what they had
  EXPECT_EQ(shared({{0, 1, 99}, {99, 1, 99}}, 40), (Rows{40, 0}));
  EXPECT_EQ(shared({{0, 1, 7}, {0, 1, 99}, {0, 1, 99}}, 41), (Rows{7, 17, 17}));
  EXPECT_EQ(shared({{0, 1, 9}, {0, 1, 9}, {0, 1, 9}}, 2), (Rows{1, 1, 0}));  // rounding, in order
  EXPECT_EQ(shared({{0, 1, 9}, {0, 1, 9}}, 0), (Rows{0, 0}));
}

TEST(ShareRows, RandomClaimsUseTheWholeRoom) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::vector<RowClaim> claims(1 + random() % 9);
    size_t want = 0;
    for (RowClaim& claim : claims) {
      claim.spent_ms = static_cast<double>(random() % 1000) - 50;
      claim.row_ms = 0.01 + static_cast<double>(random() % 100) / 10;
      claim.want = random() % 300;
      want += claim.want;
    }
    const size_t room = random() % 600;
    share_rows(claims, room);
    size_t given = 0;
    double level = -1e9;  // before its last row, of whoever had most then
    for (const RowClaim& claim : claims) {
      ASSERT_LE(claim.rows, claim.want);
      given += claim.rows;
      if (claim.rows == 0) continue;
      level = std::max(level, claim.spent_ms + static_cast<double>(claim.rows - 1) * claim.row_ms);
    }
    ASSERT_EQ(given, std::min(room, want));
    // Who wants more is not below that: the row would have been its own. (Up to the halving.)
    for (const RowClaim& claim : claims) {
      if (claim.rows == claim.want) continue;
      EXPECT_GE(claim.spent_ms + static_cast<double>(claim.rows + 1) * claim.row_ms, level - 1e-6);
    }
  }
}

}  // namespace
}  // namespace splitd

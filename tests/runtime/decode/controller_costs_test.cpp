// What the controller learns its costs with: curves of batches, the line of a link, the sizes of
// the tail's batches.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/decode/cost_curve.h"
#include "runtime/decode/link_line.h"
#include "runtime/decode/tail_waves.h"

namespace splitd {
namespace {

// Flat to 8 rows, then a step.
double stepped(uint32_t n) {
  return n <= 8 ? 10 : 30;
}

TEST(CostCurve, SaysWhatIsExpectedAndWhatMayBeHopedFor) {
  CostCurve curve(0.05);
  EXPECT_EQ(curve.least(4), 0);
  curve.observe(2, stepped(2));
  curve.observe(16, stepped(16));
  EXPECT_NEAR(curve.at(9), 20, 1e-9);     // halfway
  EXPECT_NEAR(curve.least(9), 10, 1e-9);  // the step may stand behind it…
  EXPECT_NEAR(curve.least(40), 30, 1e-9);
  EXPECT_NEAR(curve.least(16), 30, 1e-9);  // …but not here
}

TEST(CostCurve, BelievesAStepBetweenTwoSizesAtOnce) {
  CostCurve curve(0.05);
  curve.observe(2, 10);
  curve.observe(16, 30);
  curve.observe(4, 29);  // twice what was expected, and no accident for all that was seen
  EXPECT_NEAR(curve.at(4), 29, 1e-9);
  curve.observe(4, 90);  // more than 16 rows take is one, until it happens again
  EXPECT_NEAR(curve.at(4), 29, 1e-9);
}

TEST(LinkLine, KnowsThatItDoesNotKnowWhatARowCosts) {
  LinkLine link;
  EXPECT_TRUE(link.is_blind());
  for (int i = 0; i < 10; ++i) link.observe(3, 60);
  EXPECT_TRUE(link.is_blind());
  EXPECT_NEAR(link.least(30), 60, 1e-9);  // all of it may be the round trip
  EXPECT_NEAR(link.least(1), 20, 1e-9);   // or the rows
  link.observe(8, 160);
  EXPECT_TRUE(link.is_blind());  // that may have been a retransmission
  link.observe(8, 85);
  EXPECT_FALSE(link.is_blind());
  EXPECT_EQ(link.least(20), link.at(20));
}

// A frame or two with everything else as it was change nothing; three do, on whatever side.
TEST(LinkLine, ForgetsALinkThatBecameAnother) {
  LinkLine link;
  for (uint32_t i = 0; i < 16; ++i) link.observe(1 + i % 4, 80 + 0.1 * (1 + i % 4));
  link.observe(2, 300);
  EXPECT_NEAR(link.rtt_ms(), 80, 1);
  link.observe(2, 80.2);
  link.observe(20, 5 + 100 * 20);
  link.observe(1, 5 + 100);  // more rows took longer than before, one row not as long
  link.observe(7, 5 + 100 * 7);
  EXPECT_NEAR(link.at(1), 105, 1);
  EXPECT_NEAR(link.at(20), 2005, 0.05 * 2005);
}

TEST(LinkLine, NoticesASmallShiftThatLasts) {
  LinkLine link;
  for (int i = 0; i < 16; ++i) link.observe(1, 100 + 0.2 * (i % 3));
  EXPECT_FALSE(link.is_drifting());
  for (int i = 0; i < 5; ++i) link.observe(1, 98);
  EXPECT_TRUE(link.is_drifting());
}

// Against every size of batches, one after another.
TEST(TailWaves, AreAsLargeAsTakesLeastTime) {
  CostCurve curve(0.05);
  for (const uint32_t n : {1u, 4u, 8u, 9u, 16u, 32u}) curve.observe(n, stepped(n) + 0.1 * n);
  for (const double p : {0.3, 0.7, 0.95, 0.999}) {
    TailWaves waves(curve);
    EXPECT_EQ(waves.best(), 0u);
    for (uint32_t n = 1; n <= 32; ++n) {
      waves.add(std::pow(p, n - 1));
      double best_ms = 1e9;
      for (uint32_t size = 1; size <= n; ++size) {
        double ms = 0;
        for (uint32_t at = 0; at < n; at += size) {
          ms += std::pow(p, at) * curve.at(std::min(size, n - at));
        }
        EXPECT_NEAR(waves.ms(size), ms, 1e-9) << n << " rows by " << size;
        best_ms = std::min(best_ms, ms);
      }
      EXPECT_NEAR(waves.ms(waves.best()), best_ms, 1e-9) << n;
    }
    // What is flat is free, what is beyond the step is needless or worth one batch.
    EXPECT_EQ(waves.best(), p < 0.5 ? 4u : p < 0.99 ? 8u : 32u) << p;
  }
}

}  // namespace
}  // namespace splitd

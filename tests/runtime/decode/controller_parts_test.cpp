// Drafts in several frames, against the best that could be sent by somebody who knows every cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "runtime/decode/controller.h"
#include "tests/runtime/decode/controller_sim.h"

namespace splitd {
namespace {

constexpr uint32_t kRows = 32;  // of a frame
constexpr size_t kSettle = 10;  // steps
constexpr size_t kSteps = 120;  // with each link

// That the walk comes from a row before `begin` to one in [begin, end).
double reach_of(const Draft& draft, uint32_t begin, uint32_t end) {
  double reach = 0;
  for (uint32_t i = begin; i < end; ++i) {
    if (draft.parents[i] < static_cast<int32_t>(begin)) {
      reach += static_cast<double>(draft.probabilities[i]);
    }
  }
  return std::min(reach, 1.0);
}

double expected_tail(const SimWorld& world, const SimCut& cut) {
  double least = 1e300;
  for (uint32_t k = 1; k <= cut.path.size(); ++k) {
    const auto left = static_cast<uint32_t>(cut.path.size()) - k;
    const double more = left > 0 ? static_cast<double>(cut.path[k]) * world.tail.at(left) : 0;
    least = std::min(least, world.tail.at(k) + more);
  }
  return least + cut.side * world.tail.at(1);
}

// Expected tokens and time of a step. While the rest of a draft is computed, the tail works on the
// rows before; what nobody comes to is in the way of the next step as far as it outlasts the round
// trip.
SimRun step_of(const SimWorld& world, const Draft& draft, const DraftParts& parts) {
  const uint32_t first = parts.end[0], n = parts.n_row();
  SimRun out{cut_of(draft, n).n_token, world.head.at(first + 1) + world.link_ms(first + 1) +
                                           world.body.at(first + 1) +
                                           expected_tail(world, cut_of(draft, first))};
  for (uint32_t i = 1; i < parts.n_part; ++i) {
    const uint32_t begin = parts.end[i - 1], rows = parts.end[i] - begin;
    const double reach = reach_of(draft, begin, n);
    const double body = world.body.at(rows), link = world.link_ms(rows) - world.rtt_ms;
    const double waited = std::max(0.0, body + link - world.tail.at(1)) + world.tail.at(2);
    out.ms += reach * waited + (1 - reach) * std::max(0.0, std::max(body, link / 2) - world.rtt_ms);
  }
  return out;
}

// The best of all ways to send the draft in two parts.
SimRun best_of(const SimWorld& world, const Draft& draft, double rate) {
  SimRun best;
  double most = -1e300;
  const auto n_row = static_cast<uint32_t>(draft.size());
  for (uint32_t n = 0; n <= n_row; ++n) {
    for (uint32_t first = n > kRows ? n - kRows : 0; first <= std::min(n, kRows - 1); ++first) {
      const DraftParts parts = first == n ? DraftParts::whole(n) : DraftParts{2, {first, n}};
      const SimRun one = step_of(world, draft, parts);
      if (one.n_token - rate * one.ms <= most) continue;
      most = one.n_token - rate * one.ms;
      best = one;
    }
  }
  return best;
}

double best_rate(const SimWorld& world, std::span<const SimStep> steps) {
  double rate = 1e-9;
  for (int round = 0; round < 8; ++round) {
    SimRun sum;
    for (const SimStep& step : steps) {
      const SimRun one = best_of(world, step.draft, rate);
      sum.n_token += one.n_token;
      sum.ms += one.ms;
    }
    if (sum.rate() <= rate * (1 + 1e-6)) break;
    rate = sum.rate();
  }
  return rate;
}

class Driver {
 public:
  SimRun take(const SimWorld& world, const SimStep& step) {
    const DraftParts parts = controller_.parts_worth(step.draft, 3);
    n_rest += parts.n_part - 1;
    uint32_t begin = 0;
    for (uint32_t i = 0; i < parts.n_part; ++i) {
      const uint32_t rows = parts.end[i] - begin + (i == 0 ? 1 : 0);
      EXPECT_GE(rows, 1u);
      EXPECT_LE(rows, kRows);
      begin = parts.end[i];
      FrameCost cost{.n_row = rows, .head_ms = world.head.at(rows)};
      cost.body_ms = world.body.at(rows) * std::max(0.5, 1 + world.compute_noise * step.noise[1]);
      cost.wait_ms = world.link_ms(rows) + cost.body_ms + step.jitter * world.jitter_ms;
      cost.alone = i == 0;
      cost.bytes_up = cost.bytes_down = 160 + rows * (2ull * world.d_model + 5);
      controller_.observe(cost);
    }
    const uint32_t wave = controller_.wave_rows(cut_of(step.draft, parts.end[0]).path);
    controller_.observe_tail(wave, world.tail.at(wave));
    return step_of(world, step.draft, parts);
  }

  uint64_t n_rest = 0;

 private:
  Controller controller_{{.most_rows = kRows, .most_frames = 4}};
};

TEST(ControllerParts, ComeNearTheBest) {
  std::mt19937_64 random(5);
  const auto between = [&](double a, double b) {  // evenly in proportions
    return a * std::pow(b / a, std::uniform_real_distribution<double>(0, 1)(random));
  };
  double sum = 0, lowest = 2;
  int n_with_rests = 0;
  constexpr int kCases = 60;
  for (int i = 0; i < kCases; ++i) {
    SimWorld worlds[2];
    for (SimWorld& w : worlds) {
      w.rtt_ms = between(1, 200);
      w.mbit = between(1, 1000);
    }
    worlds[0].d_model = worlds[1].d_model = random() % 2 == 0 ? 576 : 4096;
    const auto cost = [&](double low, double high) {
      RooflineCost c{.base_ms = between(low, high)};
      c.row_ms = c.base_ms * between(0.01, 0.3);
      c.knee = static_cast<uint32_t>(between(1, 16));
      return c;
    };
    worlds[0].head = worlds[1].head = cost(0.2, 4);
    worlds[0].body = worlds[1].body = cost(2, 60);
    worlds[0].tail = worlds[1].tail = cost(1, 15);
    for (SimWorld& w : worlds) w.compute_noise = 0.03;
    SimText text{.mean = between(0.15, 0.95), .empty = between(0.02, 0.6), .tree = i % 2 == 0};
    Driver driver;
    for (const SimWorld& world : worlds) {
      std::vector<SimStep> steps;
      for (size_t s = 0; s < kSteps; ++s) steps.push_back(make_step(text, world, random));
      SimRun got;
      const double best = best_rate(world, std::span(steps).subspan(kSettle));
      for (size_t s = 0; s < kSteps; ++s) {
        const SimRun step = driver.take(world, steps[s]);
        if (s < kSettle) continue;
        got.n_token += step.n_token;
        got.ms += step.ms;
      }
      const double share = got.rate() / best;
      EXPECT_GE(share, 0.95) << i << ": rtt " << world.rtt_ms << ", " << world.mbit << " Mbit/s";
      sum += share;
      lowest = std::min(lowest, share);
    }
    n_with_rests += driver.n_rest > 0 ? 1 : 0;
  }
  std::printf("%.4f of the best on average, %.4f at least; %d of %d pairs of links had rests\n",
              sum / (2 * kCases), lowest, n_with_rests, kCases);
  EXPECT_GT(n_with_rests, kCases / 2);
}

TEST(ControllerParts, StayInOneFrameWhereNothingIsFar) {
  SimWorld world;
  world.rtt_ms = 0.1;
  world.mbit = 10000;
  world.body = {.base_ms = 10, .row_ms = 1, .knee = 1};
  world.tail = {.base_ms = 1};
  world.head = {.base_ms = 1};
  std::mt19937_64 random(6);
  Driver driver;
  for (int i = 0; i < 100; ++i) driver.take(world, make_step({.tree = true}, world, random));
  EXPECT_EQ(driver.n_rest, 0u);
}

TEST(ControllerParts, EvenOnes) {
  const DraftParts three = DraftParts::even(7, 3);
  EXPECT_EQ(three.n_part, 3u);
  EXPECT_EQ(three.end, (std::array<uint32_t, 3>{2, 4, 7}));
  EXPECT_EQ(DraftParts::even(1, 3).n_part, 1u);
  EXPECT_EQ(DraftParts::even(0, 3).n_row(), 0u);
}

}  // namespace
}  // namespace splitd

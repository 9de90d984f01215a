#include "runtime/decode/controller.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/runtime/decode/controller_sim.h"

namespace splitd {
namespace {

constexpr uint32_t kRows = 32;  // of a frame
constexpr size_t kSettle = 10;  // steps
constexpr size_t kSteps = 150;  // with each link

struct SimCase {
  SimWorld before, after;
  SimText text;
  uint64_t seed = 0;
};

std::string describe(const SimWorld& w) {
  char out[200];
  std::snprintf(out, sizeof out,
                "rtt %.0f, %.0f Mbit/s, d %u, body %.2f+%.3f(%u/%u), tail %.2f+%.3f(%u/%u)",
                w.rtt_ms, w.mbit, w.d_model, w.body.base_ms, w.body.row_ms, w.body.knee,
                w.body.tile, w.tail.base_ms, w.tail.row_ms, w.tail.knee, w.tail.tile);
  return out;
}

// Tokens per ms over the best possible: once settled, and from kSettle steps after the change.
struct Shares {
  double before, after;
};

Shares simulate(const SimCase& sim) {
  std::mt19937_64 random(sim.seed);
  std::vector<SimStep> steps;
  for (size_t i = 0; i < 2 * kSteps; ++i) steps.push_back(make_step(sim.text, sim.before, random));
  Controller controller({.most_rows = kRows, .most_frames = 1});
  SimRun first, second;
  for (size_t i = 0; i < steps.size(); ++i) {
    const SimWorld& world = i < kSteps ? sim.before : sim.after;
    const uint32_t n = controller.parts_worth(steps[i].draft, 1).n_row();
    EXPECT_LE(n, std::min<size_t>(kRows - 1, steps[i].draft.tokens.size()));
    FrameCost cost;
    const SimRun one = take_step(
        world, steps[i], n, [&](std::span<const float> path) { return controller.wave_rows(path); },
        [&](uint32_t n_tail, double ms) { controller.observe_tail(n_tail, ms); }, cost);
    controller.observe(cost);
    SimRun& sum = i < kSteps ? first : second;
    if (i % kSteps < kSettle) continue;
    sum.n_token += one.n_token;
    sum.ms += one.ms;
  }
  return {first.rate() / best_rate(sim.before, steps, kSettle, kSteps, kRows - 1),
          second.rate() / best_rate(sim.after, steps, kSteps + kSettle, 2 * kSteps, kRows - 1)};
}

SimCase random_case(std::mt19937_64& random, double noise) {
  const auto between = [&](double a, double b) {  // evenly in proportions
    return a * std::pow(b / a, std::uniform_real_distribution<double>(0, 1)(random));
  };
  const auto one_of = [&](std::initializer_list<uint32_t> values) {
    return values.begin()[std::uniform_int_distribution<size_t>(0, values.size() - 1)(random)];
  };
  SimCase sim;
  SimWorld& w = sim.before;
  w.rtt_ms = between(1, 200);
  w.mbit = between(1, 1000);
  w.d_model = one_of({576, 896, 2048, 4096, 8192});
  const auto cost = [&](double low, double high) {
    RooflineCost c{.base_ms = between(low, high)};
    c.row_ms = c.base_ms * between(0.01, 0.3);
    c.knee = one_of({1, 2, 4, 8, 16});
    c.tile = one_of({1, 1, 4, 8});
    return c;
  };
  w.head = cost(0.2, 4);
  w.body = cost(2, 60);
  w.tail = cost(1, 15);
  w.jitter_ms = noise * between(0.05, 0.05 * w.rtt_ms + 0.1);
  w.compute_noise = noise * 0.03;
  w.outlier_share = noise * 0.01;
  sim.after = w;
  sim.after.rtt_ms = between(1, 200);
  sim.after.mbit = between(1, 1000);
  sim.text.mean = between(0.15, 0.95);
  sim.text.empty = between(0.02, 0.6);
  sim.text.tree = one_of({0, 1}) == 1;
  sim.seed = random();
  return sim;
}

void check_cases(int n_case, double noise, double least) {
  std::mt19937_64 random(static_cast<uint64_t>(n_case) + 7);
  double sum = 0, lowest = 2;
  int n_low = 0;
  for (int i = 0; i < n_case; ++i) {
    const SimCase sim = random_case(random, noise);
    const Shares shares = simulate(sim);
    sum += shares.before + shares.after;
    lowest = std::min({lowest, shares.before, shares.after});
    n_low += shares.before < least || shares.after < least;
    EXPECT_GE(shares.before, least) << i << ": " << describe(sim.before);
    EXPECT_GE(shares.after, least)
        << i << ": " << describe(sim.before) << " then " << describe(sim.after);
  }
  std::printf("%d cases: %.4f of the best on average, %.4f at least, %d below %.2f\n", 2 * n_case,
              sum / (2 * n_case), lowest, n_low, least);
}

TEST(Controller, ComesNearTheBestOnAnyLink) {
  check_cases(250, 0, 0.95);
}

TEST(Controller, ComesNearTheBestOnANoisyLink) {
  check_cases(251, 1, 0.95);
}

// --gtest_also_run_disabled_tests
TEST(Controller, DISABLED_ComesNearTheBestOnVeryManyLinks) {
  check_cases(1500, 0, 0.95);
  check_cases(1501, 1, 0.95);
}

}  // namespace
}  // namespace splitd

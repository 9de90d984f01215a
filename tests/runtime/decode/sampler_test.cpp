#include "runtime/decode/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "runtime/decode/philox.h"

namespace splitd {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

uint32_t sample(const SamplingOptions& options, std::vector<float> logits, uint64_t position = 0) {
  Sampler sampler(options, static_cast<uint32_t>(logits.size()));
  return *sampler.sample(logits, position);
}

std::vector<double> frequencies(SamplingOptions options, const std::vector<float>& logits) {
  constexpr int kDraws = 20000;
  Sampler sampler(options, static_cast<uint32_t>(logits.size()));
  std::vector<double> out(logits.size(), 0);
  for (int position = 0; position < kDraws; ++position) {
    std::vector<float> copy = logits;
    out[*sampler.sample(copy, static_cast<uint64_t>(position))] += 1.0 / kDraws;
  }
  return out;
}

TEST(Sampler, GreedyTakesTheLowestIdOfEquals) {
  EXPECT_EQ(sample({}, {1, 3, 3, 2}), 1u);
  EXPECT_EQ(sample({.temperature = 1, .top_k = 1}, {1, 2, 3, 3}), 2u);
  for (const double cold : {1e-3, 1e-30, 1e-300, 5e-324}) {
    EXPECT_EQ(sample({.temperature = cold, .top_p = 0.9}, {1, 3, 2.9f, 2}), 1u) << cold;
  }
}

TEST(Sampler, DrawsTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  const std::vector<double> got = frequencies({.temperature = 0.7, .seed = 5}, logits);
  double total = 0;
  for (const float x : logits) total += std::exp(x / 0.7);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], std::exp(logits[i] / 0.7) / total, 0.015);
}

TEST(Sampler, FiltersKeepWhatTheyShould) {
  // Probabilities 0.5, 0.25, 0.15, 0.1.
  std::vector<float> logits;
  for (const double p : {0.15, 0.5, 0.1, 0.25}) logits.push_back(static_cast<float>(std::log(p)));
  const auto kept = [&](SamplingOptions options) {
    options.temperature = 1;
    std::string out;
    const std::vector<double> got = frequencies(options, logits);
    for (size_t i = 0; i < 4; ++i) out += got[i] > 0 ? static_cast<char>('0' + i) : '-';
    return out;
  };
  EXPECT_EQ(kept({}), "0123");
  EXPECT_EQ(kept({.top_k = 2}), "-1-3");
  EXPECT_EQ(kept({.top_p = 0.49}), "-1--");
  EXPECT_EQ(kept({.top_p = 0.6}), "-1-3");  // 0.5 is before 0.25: still less than 0.6
  EXPECT_EQ(kept({.top_p = 0.85}), "01-3");
  EXPECT_EQ(kept({.min_p = 0.29}), "01-3");
  EXPECT_EQ(kept({.min_p = 1}), "-1--");
  EXPECT_EQ(kept({.top_k = 3, .top_p = 0.8}), "-1-3");  // of 0.9: 0.556, 0.278 reach 0.8
}

// Every option against a plain implementation that sorts everything, on large vocabularies.
TEST(Sampler, AgreesWithSortingEverything) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 3);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  std::map<uint32_t, int> distinct;
  for (int round = 0; round < 300; ++round) {
    std::vector<float> logits(5000);
    for (float& x : logits) x = std::round(normal(random) * 8) / 8;  // many ties
    SamplingOptions o{.temperature = 0.2 + (round % 7) * 0.5, .seed = random()};
    if (round % 2 == 0) o.top_k = 1 + below(4000);
    if (round % 3 == 0) o.top_p = 0.01 + 0.98 * below(100) / 100.0;
    if (round % 5 == 0) o.min_p = below(100) / 200.0;
    const uint64_t position = random();

    std::vector<uint32_t> order(logits.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
    if (o.top_k != 0) order.resize(std::min<size_t>(order.size(), o.top_k));
    std::vector<double> p;
    double total = 0;
    for (const uint32_t id : order) {
      p.push_back(std::exp((double{logits[id]} - logits[order[0]]) * (1 / o.temperature)));
      total += p.back();
    }
    size_t kept = 0;
    double sum = 0;
    while (kept < p.size() &&
           (kept == 0 || ((o.top_p >= 1 || sum < o.top_p * total) && p[kept] >= o.min_p))) {
      sum += p[kept++];
    }
    const double target = philox_uniform(o.seed, position, 0) * sum;
    size_t pick = 0;
    for (double before = p[0]; pick + 1 < kept && target >= before; before += p[++pick]) {
    }
    const uint32_t got = sample(o, logits, position);
    ASSERT_EQ(got, order[pick]) << round;
    distinct[got] += 1;
  }
  EXPECT_GT(distinct.size(), 100u);
}

TEST(Sampler, DependsOnSeedAndPositionAlone) {
  const std::vector<float> logits(50, 0.0f);
  const SamplingOptions options{.temperature = 1, .seed = 9};
  std::map<uint32_t, int> tokens;
  Sampler sampler(options, 50);
  for (uint64_t position = 0; position < 40; ++position) {
    std::vector<float> copy = logits;
    const uint32_t again = *sampler.sample(copy, position);
    EXPECT_EQ(sample(options, logits, position), again);
    tokens[again] += 1;
  }
  EXPECT_GT(tokens.size(), 15u);
}

TEST(Sampler, PenaltiesCountWhatIsBefore) {
  SamplingOptions options{.repeat_penalty = 2, .presence_penalty = 1, .frequency_penalty = 0.5};
  Sampler sampler(options, 4);
  const auto top = [&](std::vector<float> logits) { return *sampler.sample(logits, 0); };
  sampler.push(0, false);
  EXPECT_EQ(top({3, 1.6f, 0, 0}), 1u);  // 3 / 2
  EXPECT_EQ(top({3, 1.4f, 0, 0}), 0u);
  EXPECT_EQ(top({-1, -1.9f, -9, -9}), 1u);  // −1 · 2
  sampler.push(1, true);
  sampler.push(1, true);
  EXPECT_EQ(top({-9, 8, 2.1f, 0}), 2u);  // 8/2 − 1 − 2·0.5 = 2
  EXPECT_EQ(top({-9, 8, 1.9f, 0}), 1u);
  sampler.pop(1, true);
  EXPECT_EQ(top({-9, 8, 2.4f, 0}), 1u);  // 8/2 − 1 − 0.5 = 2.5
  sampler.pop(1, true);
  sampler.pop(0, false);
  EXPECT_EQ(top({3, 2.9f, 0, 0}), 0u);
}

TEST(Sampler, BiasIsAdded) {
  EXPECT_EQ(sample({.logit_bias = {{2, 5.0f}, {0, -1.0f}}}, {3, 2.5f, 0, 0}), 2u);
}

TEST(Sampler, NamesLogitsThatAreNotFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> logits(9, 1.0f);
    logits[7] = bad;
    Sampler sampler({}, 9);
    const Result<uint32_t> got = sampler.sample(logits, 12);
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.error().message.find("position 12 are not finite: token 7"), std::string::npos);
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  EXPECT_TRUE(check_sampling({}, 10).ok());
  EXPECT_FALSE(check_sampling({.temperature = -1}, 10).ok());
  EXPECT_FALSE(check_sampling({.temperature = NAN}, 10).ok());
  EXPECT_FALSE(check_sampling({.top_p = 0}, 10).ok());
  EXPECT_FALSE(check_sampling({.top_p = 1.01}, 10).ok());
  EXPECT_FALSE(check_sampling({.min_p = -0.1}, 10).ok());
  EXPECT_FALSE(check_sampling({.repeat_penalty = 0}, 10).ok());
  EXPECT_FALSE(check_sampling({.logit_bias = {{10, 1.0f}}}, 10).ok());
}

}  // namespace
}  // namespace splitd

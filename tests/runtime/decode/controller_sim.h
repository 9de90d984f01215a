// A link, a body and a text on a virtual clock, with a policy that decides what is sent: the
// controller, or the best that somebody could do who knows everything but the future.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/decode/controller.h"

namespace splitd {

// What n rows cost: flat up to a knee, then by the row, in steps of a kernel's tile.
struct RooflineCost {
  double base_ms = 1;
  double row_ms = 0;
  uint32_t knee = 1;
  uint32_t tile = 1;

  double at(uint32_t n) const {
    const uint32_t whole = (n + tile - 1) / tile * tile;
    return base_ms + row_ms * (whole > knee ? whole - knee : 0);
  }
};

struct SimWorld {
  double rtt_ms = 80;
  double mbit = 100;
  uint32_t d_model = 2048;
  RooflineCost head, body, tail;
  double jitter_ms = 0.2;    // of the link, on average; exponential
  double compute_noise = 0;  // of the computing times, relative
  double outlier_share = 0;  // of frames that wait for a retransmission

  double link_ms(uint32_t n) const {
    const double bytes = 2 * (160.0 + n * (2.0 * d_model + 5));
    return rtt_ms + bytes * 8 / (mbit * 1e3);
  }
};

// How right drafts are, from step to step.
struct SimText {
  double mean = 0.6;     // of a row, given the one above it
  double spread = 0.25;  // from step to step
  double empty = 0.2;    // share of steps without any draft
  bool tree = false;
  uint32_t most_rows = 31;
};

struct SimStep {
  Draft draft;
  double luck = 0;    // the likeliest path is right down to the last row whose probability is above
  double side = 0;    // whether one of the rows beside it is right
  double jitter = 0;  // exponential, mean 1
  double noise[3] = {};  // of head, body, tail; normal
  bool outlier = false;
};

constexpr uint32_t kOnPath = 1, kBeside = 2;  // tokens: of the likeliest path or not

// As drafters give them: the likelier rows first.
inline Draft in_order(const Draft& draft) {
  std::vector<uint32_t> order(draft.size());
  std::vector<int32_t> place(draft.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return draft.probabilities[a] > draft.probabilities[b];
  });
  for (uint32_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<int32_t>(i);
  Draft out;
  for (const uint32_t i : order) {
    const int32_t parent = draft.parents[i];
    out.add(draft.tokens[i], parent < 0 ? -1 : place[static_cast<size_t>(parent)],
            draft.probabilities[i]);
  }
  return out;
}

inline SimStep make_step(const SimText& text, const SimWorld& world, std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(0, 1);
  SimStep step;
  const double mean = std::clamp(text.mean + text.spread * (2 * uniform(random) - 1), 0.02, 0.98);
  Draft guessed;
  if (uniform(random) >= text.empty) {
    double p = 1;
    int32_t leaf = -1;
    while (guessed.size() < text.most_rows && p > 0.001) {
      const double above = p;
      p *= mean;
      const int32_t parent = leaf;
      leaf = guessed.add(kOnPath, parent, static_cast<float>(p));
      if (!text.tree || guessed.size() == text.most_rows) continue;
      // The second guess is right half of the time that the first is not, but less often than it.
      guessed.add(kBeside, parent,
                  static_cast<float>(above * std::min((1 - mean) * 0.5, mean * 0.9)));
    }
  }
  step.draft = in_order(guessed);
  step.luck = uniform(random);
  step.side = uniform(random);
  step.jitter = -std::log(1 - uniform(random));
  std::normal_distribution<double> normal(0, 1);
  for (double& noise : step.noise) noise = normal(random);
  step.outlier = uniform(random) < world.outlier_share;
  return step;
}

// What a cut of a draft at n rows is, whoever decides it.
struct SimCut {
  std::vector<float> path{1};  // the likeliest, from the last token on
  double side = 0;             // probability that a row beside it is right
  double n_token = 1;          // expected
};

inline SimCut cut_of(const Draft& draft, uint32_t n) {
  SimCut cut;
  int32_t leaf = -1;
  for (uint32_t i = 0; i < n; ++i) {
    const float p = draft.probabilities[i];
    cut.n_token += static_cast<double>(p);
    if (draft.parents[i] == leaf && draft.tokens[i] == kOnPath) {
      cut.path.push_back(p);
      leaf = static_cast<int32_t>(i);
    } else {
      cut.side += static_cast<double>(p);
    }
  }
  return cut;
}

// The time of the tail for a step: batches along the path as long as the walk goes on.
template <class WaveRows, class Observe>
double tail_ms(const SimWorld& world, const SimStep& step, const SimCut& cut, WaveRows&& wave_rows,
               Observe&& observe) {
  double ms = 0;
  size_t at = 0;
  while (at < cut.path.size() && (at == 0 || static_cast<double>(cut.path[at]) > step.luck)) {
    std::vector<float> rest;
    for (size_t i = at; i < cut.path.size(); ++i) rest.push_back(cut.path[i] / cut.path[at]);
    const uint32_t n = std::clamp<uint32_t>(wave_rows(rest), 1, static_cast<uint32_t>(rest.size()));
    const double one = world.tail.at(n) * std::max(0.3, 1 + world.compute_noise * step.noise[2]);
    observe(n, one);
    ms += one;
    at += n;
  }
  if (step.side < cut.side) ms += world.tail.at(1);
  return ms;
}

struct SimRun {
  double n_token = 0;
  double ms = 0;
  double rate() const { return n_token / ms; }
};

// One step as it happens, with n rows of the draft.
template <class WaveRows, class Observe>
SimRun take_step(const SimWorld& world, const SimStep& step, uint32_t n, WaveRows&& wave_rows,
                 Observe&& observe_tail, FrameCost& cost) {
  const auto noisy = [&](double ms, int i) {
    return ms * std::max(0.3, 1 + world.compute_noise * step.noise[i]);
  };
  const SimCut cut = cut_of(step.draft, n);
  cost = {};
  cost.n_row = n + 1;
  cost.head_ms = noisy(world.head.at(n + 1), 0);
  cost.body_ms = noisy(world.body.at(n + 1), 1);
  cost.wait_ms = world.link_ms(n + 1) + cost.body_ms + step.jitter * world.jitter_ms +
                 (step.outlier ? world.rtt_ms + 200 : 0);
  cost.bytes_up = cost.bytes_down = 160 + (n + 1) * (2ull * world.d_model + 5);
  const double tail = tail_ms(world, step, cut, wave_rows, observe_tail);
  return {cut.n_token, cost.head_ms + cost.wait_ms + tail};
}

// Knows every cost and every probability: for the price `tokens_per_ms` of time, the best cut.
inline SimRun best_step(const SimWorld& world, const SimStep& step, double tokens_per_ms,
                        uint32_t most_rows) {
  SimRun best;
  double best_worth = -1e300;
  const auto most = std::min<uint32_t>(most_rows, static_cast<uint32_t>(step.draft.tokens.size()));
  for (uint32_t n = 0; n <= most; ++n) {
    const SimCut cut = cut_of(step.draft, n);
    double tail = 1e300;
    for (uint32_t k = 1; k <= cut.path.size(); ++k) {
      double ms = world.tail.at(k);
      if (k < cut.path.size()) {
        ms += static_cast<double>(cut.path[k]) *
              world.tail.at(static_cast<uint32_t>(cut.path.size()) - k);
      }
      tail = std::min(tail, ms);
    }
    const double ms = world.head.at(n + 1) + world.link_ms(n + 1) + world.body.at(n + 1) + tail +
                      cut.side * world.tail.at(1) + step.jitter * world.jitter_ms +
                      (step.outlier ? world.rtt_ms + 200 : 0);
    const double worth = cut.n_token - tokens_per_ms * ms;
    if (worth > best_worth) {
      best_worth = worth;
      best = {cut.n_token, ms};
    }
  }
  return best;
}

// The most tokens per ms that any choice of cuts reaches over these steps (Dinkelbach).
inline double best_rate(const SimWorld& world, const std::vector<SimStep>& steps, size_t from,
                        size_t to, uint32_t most_rows) {
  double rate = 1e-9;
  for (int i = 0; i < 12; ++i) {
    SimRun sum;
    for (size_t s = from; s < to; ++s) {
      const SimRun one = best_step(world, steps[s], rate, most_rows);
      sum.n_token += one.n_token;
      sum.ms += one.ms;
    }
    if (sum.rate() <= rate * (1 + 1e-6)) break;
    rate = sum.rate();
  }
  return rate;
}

}  // namespace splitd

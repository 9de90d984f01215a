// The steps behind sampler.h. Only as many candidates are sorted as a draw looks at.
#include "runtime/decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "runtime/decode/philox.h"

namespace splitd {
namespace {

Error out_of_range(std::string_view name, double value, std::string_view accepted) {
  std::string shown = std::to_string(value);
  return usage_error(std::string(name) + " is " + shown + "; " + std::string(accepted) +
                     " is accepted");
}

}  // namespace

Status check_sampling(const SamplingOptions& o, uint32_t n_vocab) {
  const auto inside = [](double x, double low, double high) { return x >= low && x <= high; };
  if (!inside(o.temperature, 0, 100)) {
    return out_of_range("temperature", o.temperature, "0 (greedy) to 100");
  }
  if (!inside(o.top_p, 0, 1) || o.top_p == 0) return out_of_range("top_p", o.top_p, "above 0 to 1");
  if (!inside(o.min_p, 0, 1)) return out_of_range("min_p", o.min_p, "0 to 1");
  if (!inside(o.repeat_penalty, 1e-3, 1e3)) {
    return out_of_range("repeat_penalty", o.repeat_penalty, "0.001 to 1000");
  }
  if (!inside(o.presence_penalty, -100, 100)) {
    return out_of_range("presence_penalty", o.presence_penalty, "-100 to 100");
  }
  if (!inside(o.frequency_penalty, -100, 100)) {
    return out_of_range("frequency_penalty", o.frequency_penalty, "-100 to 100");
  }
  for (const auto& [id, bias] : o.logit_bias) {
    if (id >= n_vocab) {
      return usage_error("logit_bias: token " + std::to_string(id) + "; the vocabulary has " +
                         std::to_string(n_vocab));
    }
    if (!inside(bias, -kMostBias, kMostBias))
      return out_of_range("logit_bias", bias, "-10000 to 10000");
  }
  return {};
}

Sampler::Sampler(SamplingOptions options, uint32_t n_vocab)
    : options_(std::move(options)),
      has_penalty_(options_.repeat_penalty != 1 || options_.presence_penalty != 0 ||
                   options_.frequency_penalty != 0),
      // A temperature whose inverse is infinite would make 0 · ∞ of the largest logit.
      is_greedy_(!std::isfinite(1 / options_.temperature) || options_.top_k == 1) {
  if (has_penalty_) {
    counts_.resize(n_vocab);
    seen_.reserve(n_vocab);
    is_seen_.resize(n_vocab, 0);
  }
  if (!is_greedy_) candidates_.resize(n_vocab);
}

void Sampler::push(uint32_t token, bool generated) {
  if (!has_penalty_) return;
  if (is_seen_[token] == 0) {
    is_seen_[token] = 1;
    seen_.push_back(token);
  }
  counts_[token].all += 1;
  counts_[token].generated += generated ? 1 : 0;
}

void Sampler::pop(uint32_t token, bool generated) {
  if (!has_penalty_) return;
  counts_[token].all -= 1;
  counts_[token].generated -= generated ? 1 : 0;
}

// Each token's logit is changed on its own, so the order of seen_ does not matter.
void Sampler::penalise(std::span<float> logits) const {
  for (const uint32_t token : seen_) {
    const Count count = counts_[token];
    double logit = logits[token];
    if (count.all > 0) {
      logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
    }
    if (count.generated > 0) {
      logit -= options_.presence_penalty + options_.frequency_penalty * count.generated;
    }
    logits[token] = static_cast<float>(logit);
  }
}

// One pass over all logits is a visible part of a small model's step: it goes in lanes, as neither
// a sum nor a maximum of floats is otherwise done more than one at a time.
static constexpr size_t kLanes = 16;

// x − x is 0 for every finite x and NaN for the others, and a sum keeps it.
static bool all_finite(std::span<const float> x) {
  float poison[kLanes] = {};
  const size_t whole = x.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) poison[j] += x[i + j] - x[i + j];
  }
  for (size_t i = whole; i < x.size(); ++i) poison[0] += x[i] - x[i];
  return std::all_of(poison, poison + kLanes, [](float lane) { return lane == 0; });
}

// The first of the largest: the lowest id.
static uint32_t largest(std::span<const float> x) {
  float most[kLanes];
  std::fill(most, most + kLanes, x[0]);
  const size_t whole = x.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) most[j] = most[j] < x[i + j] ? x[i + j] : most[j];
  }
  for (size_t i = whole; i < x.size(); ++i) most[0] = std::max(most[0], x[i]);
  const float value = *std::max_element(most, most + kLanes);
  return static_cast<uint32_t>(std::find(x.begin(), x.end(), value) - x.begin());
}

Result<uint32_t> Sampler::sample(std::span<float> logits, uint64_t position) {
  if (!all_finite(logits)) {
    const auto bad = std::find_if(logits.begin(), logits.end(),
                                  [](float logit) { return !std::isfinite(logit); });
    return model_error("the logits of position " + std::to_string(position) +
                       " are not finite: token " + std::to_string(bad - logits.begin()) + " has " +
                       std::to_string(*bad));
  }
  if (has_penalty_) penalise(logits);
  for (const auto& [id, bias] : options_.logit_bias) logits[id] += bias;
  if (is_greedy_) return largest(logits);
  return draw(logits, position);
}

// The first `count` candidates in their final order.
void Sampler::sort_until(size_t count) {
  count = std::min(count, candidates_.size());
  if (count <= n_sorted_) return;
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto first = candidates_.begin() + static_cast<std::ptrdiff_t>(n_sorted_);
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  if (middle != candidates_.end()) std::nth_element(first, middle, candidates_.end(), before);
  std::sort(first, middle, before);
  n_sorted_ = count;
}

uint32_t Sampler::draw(std::span<const float> logits, uint64_t position) {
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_[i] = {logits[i], static_cast<uint32_t>(i)};
  }
  n_sorted_ = 0;
  sort_until(64);
  const double largest = candidates_[0].logit;
  const double inverse = 1.0 / options_.temperature;
  const auto weight = [&](float logit) { return std::exp((double{logit} - largest) * inverse); };
  // Candidate i, sorting further when the walk gets there.
  const auto at = [&](size_t i) {
    if (i >= n_sorted_) sort_until(std::max<size_t>(i + 1, n_sorted_ * 8));
    return candidates_[i];
  };

  // How many stay after top-k, and their weight: of a top-k in order, of all by ascending id.
  size_t count = candidates_.size();
  double total = 0;
  if (options_.top_k != 0 && options_.top_k < count) {
    count = options_.top_k;
    sort_until(count);
    for (size_t i = 0; i < count; ++i) total += weight(candidates_[i].logit);
  } else {
    for (const float logit : logits) total += weight(logit);
  }
  // top-p keeps a candidate while the weight before it is less than p of all; min-p one whose
  // weight is at least so much of the largest's, which is 1.
  if (options_.top_p < 1 || options_.min_p > 0) {
    const double enough = options_.top_p < 1 ? options_.top_p * total : total * 2;
    double sum = 0;
    size_t kept = 0;
    for (; kept < count; ++kept) {
      const double w = weight(at(kept).logit);
      if (kept > 0 && (sum >= enough || w < options_.min_p)) break;
      sum += w;
    }
    count = kept;
    total = sum;
  }
  const double target = philox_uniform(options_.seed, position, 0) * total;
  double sum = 0;
  for (size_t i = 0; i + 1 < count; ++i) {
    const Candidate candidate = at(i);
    sum += weight(candidate.logit);
    if (target < sum) return candidate.id;
  }
  return at(count - 1).id;
}

}  // namespace splitd

#include "runtime/decode/drafters/follower_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

namespace splitd {

FollowerModel::FollowerModel(uint32_t n_vocab, const TokenCorpus* corpus) : recycled_(n_vocab) {
  if (corpus != nullptr) text_.append_corpus(*corpus);
  // Where learning begins, by who names a token: fitted to half of the texts of README.md's table.
  // For each: text, table, kin, aligned; one, length, order, has_kin.
  static constexpr Features kPrior[kSpeakers] = {
      {0, 0, 0, 0, 0, 0, 0, 0},
      {0.30f, 0, 0, 0, -1.05f, 0.06f, 0.37f, -1.21f},
      {0, 0.53f, 0, 0, 0.07f, 0.91f, -0.02f, -0.82f},
      {0.23f, 0.26f, 0, 0, 0.59f, 0.50f, 0.61f, -1.06f},
      {0, 0, 0.72f, 0, -0.20f, -0.28f, 0.54f, -0.20f},
      {0.08f, 0, 0.72f, 0, 0.15f, -0.05f, 0.85f, 0.15f},
      {0, 0.15f, 0.55f, 0, 0.19f, 0.40f, 0.49f, 0.19f},
      {0.14f, 0.12f, 0.30f, 0, 0.41f, 0.44f, 0.44f, 0.41f},
      {0, 0, 0, 1.05f, -0.28f, 0.11f, -0.41f, -0.77f},
      {0.41f, 0, 0, 0.44f, 1.29f, 0.29f, 0.32f, -0.46f},
      {0, 0.47f, 0, -0.08f, 0.62f, 0.14f, 0.63f, -0.81f},
      {0.29f, 0.14f, 0, 0.31f, 1.77f, 0.49f, 0.05f, -0.53f},
      {0, 0, 0.61f, 0.43f, 0.86f, -0.21f, 0.84f, 0.86f},
      {0.16f, 0, 0.37f, 0.66f, 0.76f, 0.39f, 0.45f, 0.76f},
      {0, 0.13f, 0.92f, 0.02f, 1.10f, -0.35f, 0.15f, 1.10f},
      {0.29f, -0.09f, 0.33f, 0.28f, 0.81f, 0.46f, 0.22f, 0.81f},
  };
  std::copy(std::begin(kPrior), std::end(kPrior), weights_.begin());
  mixed_.reserve(kMostGuesses);
  found_.reserve(kMostGuesses);
}

FollowerModel::Mixed& FollowerModel::mixed(uint32_t token) {
  const auto same = std::find_if(mixed_.begin(), mixed_.end(),
                                 [&](const Mixed& mixed) { return mixed.token == token; });
  if (same != mixed_.end()) return *same;
  return mixed_.emplace_back(Mixed{token, 0, {}, 0});
}

// Fills mixed_ with what any of them says.
void FollowerModel::mix(const Place& place) {
  constexpr float kMostScore = 12;
  mixed_.clear();
  const auto hear = [&](size_t who, size_t feature) {
    for (const Guess& guess : found_) {
      Mixed& at = mixed(guess.token);
      at.who |= who;
      at.features[feature] = stretch(in_bounds(guess.probability));
    }
    found_.clear();
  };
  found_.clear();
  text_.guesses(place.text, found_);
  hear(by_text, f_text);
  aligned_.guesses(place.aligned, found_);
  hear(by_aligned, f_aligned);
  const uint32_t n_context = recycled_.guesses(place.context, found_);
  hear(by_table, f_table);
  const bool is_asked = kin_.guesses(place.kin, found_);
  hear(by_kin, f_kin);
  const auto n_match =
      std::min<int>(static_cast<int>(std::bit_width(text_.match_length(place.text))), 5);
  float sum = 1;
  for (Mixed& at : mixed_) {
    at.features[f_one] = 1;
    at.features[f_length] = static_cast<float>(n_match - 2);
    at.features[f_order] = static_cast<float>(n_context) - 1;
    at.features[f_has_kin] = is_asked ? 1 : 0;
    const Features& w = weights_[at.who];
    float score = 0;
    for (size_t i = 0; i < kFeatures; ++i) score += w[i] * at.features[i];
    at.probability = std::exp(std::clamp(score, -kMostScore, kMostScore));
    sum += at.probability;
  }
  for (Mixed& at : mixed_) at.probability /= sum;
}

void FollowerModel::guesses(const Place& place, std::vector<Guess>& out) {
  mix(place);
  for (const Mixed& mixed : mixed_) out.push_back({mixed.token, mixed.probability});
}

void FollowerModel::append(const Place& place, uint32_t token, bool learn) {
  if (learn) {
    constexpr float kStep = 0.02f, kMost = 4;
    mix(place);
    for (const Mixed& mixed : mixed_) {
      Features& w = weights_[mixed.who];
      const float step = kStep * ((mixed.token == token ? 1.0f : 0.0f) - mixed.probability);
      for (size_t i = 0; i < kFeatures; ++i) {
        w[i] = std::clamp(w[i] + step * mixed.features[i], -kMost, kMost);
      }
    }
    recycled_.learn(place.context, token);
    kin_.append(token);
  } else {
    kin_.leave();
  }
  text_.append(token, learn);
  aligned_.append(token, learn);
}

}  // namespace splitd

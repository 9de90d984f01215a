#include "runtime/decode/drafters/follower_model.h"

#include <algorithm>
#include <bit>

namespace splitd {

FollowerModel::FollowerModel(uint32_t n_vocab, const TokenCorpus* corpus) : recycled_(n_vocab) {
  if (corpus != nullptr) text_.append_corpus(*corpus);
  // What both name is likelier than either says; what one names and the other does not, though it
  // knows the place, is less likely, the more so the better the other knows it.
  for (size_t length = 0; length < kLengths; ++length) {
    for (size_t order = 0; order < kOrders; ++order) {
      const auto at = [&](Who who) -> Weights& {
        return weights_[(who * kLengths + length) * kOrders + order];
      };
      at(both) = {0.75f, 0.4f, 0.25f};
      at(text_only) = {1, 0, -0.25f * static_cast<float>(order)};
      at(recycled_only) = {0, 1, -0.15f * static_cast<float>(length)};
    }
  }
}

// Fills mixed_ with what either says.
void FollowerModel::mix(const Place& place) {
  mixed_.clear();
  found_.clear();
  const auto length = static_cast<size_t>(std::bit_width(text_.match_length(place.text)));
  length_ = std::min(length, kLengths - 1);
  text_.guesses(place.text, found_);
  for (const Guess& guess : found_) {
    mixed_.push_back({guess.token, text_only, stretch(in_bounds(guess.probability)), 0, 0});
  }
  found_.clear();
  order_ = recycled_.guesses(place.context, found_);
  for (const Guess& guess : found_) {
    const float odds = stretch(in_bounds(guess.probability));
    const auto same = std::find_if(mixed_.begin(), mixed_.end(),
                                   [&](const Mixed& mixed) { return mixed.token == guess.token; });
    if (same == mixed_.end()) {
      mixed_.push_back({guess.token, recycled_only, 0, odds, 0});
    } else {
      same->who = both;
      same->recycled = odds;
    }
  }
  for (Mixed& mixed : mixed_) {
    const Weights& w = weights(mixed.who);
    mixed.probability = squash(w.text * mixed.text + w.recycled * mixed.recycled + w.bias);
  }
}

void FollowerModel::guesses(const Place& place, std::vector<Guess>& out) {
  mix(place);
  float sum = 0;
  for (const Mixed& mixed : mixed_) sum += mixed.probability;
  const float scale = sum > 1 ? 1 / sum : 1;
  for (const Mixed& mixed : mixed_) out.push_back({mixed.token, mixed.probability * scale});
}

void FollowerModel::append(const Place& place, uint32_t token, bool learn) {
  if (learn) {
    constexpr float kStep = 0.02f;
    mix(place);
    for (const Mixed& mixed : mixed_) {
      Weights& w = weights(mixed.who);
      const float step = kStep * ((mixed.token == token ? 1.0f : 0.0f) - mixed.probability);
      w.text = std::clamp(w.text + step * mixed.text, -0.5f, 2.0f);
      w.recycled = std::clamp(w.recycled + step * mixed.recycled, -0.5f, 2.0f);
      w.bias = std::clamp(w.bias + step, -3.0f, 3.0f);
    }
    recycled_.learn(place.context, token);
  }
  text_.append(token, learn);
}

}  // namespace splitd

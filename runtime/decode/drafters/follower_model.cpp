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
      const auto at = [&](size_t who, bool has_kin) -> Weights& {
        return weights(who, has_kin, length, order);
      };
      const float unlike_table = -0.25f * static_cast<float>(order);
      const float unlike_text = -0.15f * static_cast<float>(length);
      for (const bool has_kin : {false, true}) {
        const float unlike_kin = has_kin ? -0.5f : 0;
        at(by_text | by_table, has_kin) = {0.75f, 0.4f, 0, 0.25f + unlike_kin};
        at(by_text, has_kin) = {1, 0, 0, unlike_table + unlike_kin};
        at(by_table, has_kin) = {0, 1, 0, unlike_text + unlike_kin};
      }
      at(by_kin, true) = {0, 0, 1, -0.3f + 0.5f * (unlike_table + unlike_text)};
      at(by_text | by_kin, true) = {0.7f, 0, 0.45f, 0.2f};
      at(by_table | by_kin, true) = {0, 0.5f, 0.6f, 0.1f};
      at(by_text | by_table | by_kin, true) = {0.6f, 0.3f, 0.35f, 0.3f};
    }
  }
}

FollowerModel::Mixed& FollowerModel::mixed(uint32_t token) {
  const auto same = std::find_if(mixed_.begin(), mixed_.end(),
                                 [&](const Mixed& mixed) { return mixed.token == token; });
  if (same != mixed_.end()) return *same;
  return mixed_.emplace_back(Mixed{token, 0, 0, 0, 0, 0});
}

// Fills mixed_ with what any of them says.
void FollowerModel::mix(const Place& place) {
  mixed_.clear();
  const auto length = static_cast<size_t>(std::bit_width(text_.match_length(place.text)));
  length_ = std::min(length, kLengths - 1);
  const auto hear = [&](size_t who, float Mixed::*odds) {
    for (const Guess& guess : found_) {
      Mixed& at = mixed(guess.token);
      at.who |= who;
      at.*odds = stretch(in_bounds(guess.probability));
    }
    found_.clear();
  };
  found_.clear();
  text_.guesses(place.text, found_);
  hear(by_text, &Mixed::text);
  order_ = recycled_.guesses(place.context, found_);
  hear(by_table, &Mixed::recycled);
  has_kin_ = kin_.guesses(place.kin, found_);
  hear(by_kin, &Mixed::kin);
  for (Mixed& at : mixed_) {
    const Weights& w = weights(at.who);
    at.probability = squash(w.text * at.text + w.recycled * at.recycled + w.kin * at.kin + w.bias);
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
      w.kin = std::clamp(w.kin + step * mixed.kin, -0.5f, 2.0f);
      w.bias = std::clamp(w.bias + step, -3.0f, 3.0f);
    }
    recycled_.learn(place.context, token);
    kin_.append(token);
  } else {
    kin_.leave();
  }
  text_.append(token, learn);
}

}  // namespace splitd

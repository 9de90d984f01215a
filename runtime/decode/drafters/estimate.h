// Owns: probabilities that are learnt while decoding: how often something came true (Rate), and a
// guess's own
// probability set right by what became of earlier ones (Calibration, DepthShift). All forget
// slowly, so that they follow a text that changes its kind. Plain values; allocate nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace splitd {

// No guess is surer than this, nor as good as impossible: a path's probability always falls.
inline constexpr float kSurest = 0.999f;
inline constexpr float kUnlikeliest = 0.0005f;

[[nodiscard]] inline float in_bounds(float p) {
  return std::clamp(p, kUnlikeliest, kSurest);
}
// Log odds and back.
[[nodiscard]] inline float stretch(float p) {
  return std::log(p / (1 - p));
}
[[nodiscard]] inline float squash(float x) {
  return 1 / (1 + std::exp(-x));
}

// A Beta estimate: as if `weight` trials with a share of `prior` had been seen before the first.
class Rate {
 public:
  constexpr explicit Rate(float prior = 0.5f, float weight = 2)
      : hits_(prior * weight), trials_(weight) {}

  float value() const { return hits_ / trials_; }
  void learn(bool hit) {
    trials_ += 1;
    hits_ += hit ? 1 : 0;
    if (trials_ <= kMemory) return;
    const float kept = kMemory / trials_;
    trials_ *= kept;
    hits_ *= kept;
  }

 private:
  static constexpr float kMemory = 256;  // trials; older ones fade
  float hits_;
  float trials_;
};

// Sets a probability right by what became of earlier ones that claimed as much: a curve through
// knots in log odds, each learnt from the trials beside it.
class Calibration {
 public:
  Calibration() {
    for (int i = 0; i < kKnots; ++i) knots_[static_cast<size_t>(i)] = Rate(squash(place(i)), 8);
  }
  float apply(float p) const {
    const auto [i, share] = between(p);
    return knots_[i].value() * (1 - share) + knots_[i + 1].value() * share;
  }
  void learn(float p, bool hit) {
    const auto [i, share] = between(p);
    knots_[share < 0.5f ? i : i + 1].learn(hit);
  }

 private:
  static constexpr int kKnots = 16;
  struct Between {
    size_t knot;
    float share;  // of the way to the next
  };
  static constexpr float place(int knot) { return static_cast<float>(knot) - 7.5f; }
  static Between between(float p) {
    const float at = std::clamp(stretch(in_bounds(p)) - place(0), 0.0f, kKnots - 1.001f);
    const auto knot = static_cast<size_t>(at);
    return {knot, at - static_cast<float>(knot)};
  }
  std::array<Rate, kKnots> knots_;
};

// How far deeper guesses are from what they claim: a shift of the log odds by depth and by what is
// claimed. Where a guess was right the text is one that can be guessed, so the next is right more
// often than elsewhere; and what was picked as the best of many is a little too proud.
class DepthShift {
 public:
  float apply(float p, uint32_t depth) const {
    p = in_bounds(p);
    return in_bounds(squash(stretch(p) + shift_[bucket(p, depth)]));
  }
  // `claimed` is what apply() answered: near enough to what it was asked.
  void learn(float claimed, uint32_t depth, bool hit) {
    float& shift = shift_[bucket(in_bounds(claimed), depth)];
    shift = std::clamp(shift + kStep * ((hit ? 1.0f : 0.0f) - claimed), -kMost, kMost);
  }

 private:
  static constexpr float kStep = 0.03f, kMost = 2.5f;
  static constexpr size_t kDepths = 4, kClaims = 4;
  static size_t bucket(float p, uint32_t depth) {
    const size_t by_depth = depth < 2 ? depth : depth < 5 ? 2 : 3;
    const size_t by_claim = p < 0.05f ? 0 : p < 0.25f ? 1 : p < 0.75f ? 2 : 3;
    return by_depth * kClaims + by_claim;
  }
  std::array<float, kDepths * kClaims> shift_{};
};

}  // namespace splitd

// Owns: what the drafters that know followers of tokens have in common: a guess, and the search
// that makes the best tree of a budget's rows from guesses: always the likeliest path next. One
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/estimate.h"

namespace splitd {

// A token that may follow, and how likely it does, given that all before it is right.
struct Guess {
  uint32_t token = 0;
  float probability = 0;
};

// No row is proposed that is less likely than this: no link makes it worth its bytes.
inline constexpr float kLeastPath = 1.0f / 256;

// `Place` is where in a text a row stands, whatever its maker needs to know of it.
template <class Place>
class TreeSearch {
 public:
  // Fills `draft` (empty) with at most `budget` rows below `root`.
  //   guesses(place, depth, out): appends what may follow; tokens differ
  //   enter(place, token) → Place: the place after it
  // Allocates nothing once it has seen its largest budget, with up to kMostFound guesses a place.
  template <class Guesses, class Enter>
  void run(const Place& root, uint32_t budget, Draft& draft, const Guesses& guesses,
           const Enter& enter) {
    open_.clear();
    places_.clear();
    depths_.clear();
    n_opened_ = 0;
    open_.reserve(budget * kMostFound);
    places_.reserve(budget);
    depths_.reserve(budget);
    draft.reserve(budget);
    found_.reserve(kMostFound);
    if (budget > 0) expand(root, -1, 1.0f, 0, guesses);
    while (draft.size() < budget && !open_.empty()) {
      std::pop_heap(open_.begin(), open_.end(), less_likely);
      const Open best = open_.back();
      open_.pop_back();
      const int32_t row = draft.add(best.token, best.parent, best.probability);
      const uint32_t depth = best.parent < 0 ? 1 : depths_[static_cast<size_t>(best.parent)] + 1;
      const Place& above = best.parent < 0 ? root : places_[static_cast<size_t>(best.parent)];
      places_.push_back(enter(above, best.token));
      depths_.push_back(depth);
      if (draft.size() == budget) return;
      expand(places_.back(), row, best.probability, depth, guesses);
    }
  }

 private:
  static constexpr size_t kMostFound = 32;

  struct Open {
    float probability;
    uint32_t order;  // of equals the one found first: the same tree everywhere
    uint32_t token;
    int32_t parent;
  };
  static bool less_likely(const Open& a, const Open& b) {
    return a.probability != b.probability ? a.probability < b.probability : a.order > b.order;
  }

  template <class Guesses>
  void expand(const Place& place, int32_t row, float probability, uint32_t depth,
              const Guesses& guesses) {
    found_.clear();
    guesses(place, depth, found_);
    for (const Guess& guess : found_) {
      const float path = probability * in_bounds(guess.probability);
      if (path < kLeastPath) continue;
      open_.push_back({path, n_opened_++, guess.token, row});
      std::push_heap(open_.begin(), open_.end(), less_likely);
    }
  }

  std::vector<Open> open_;     // a heap
  std::vector<Place> places_;  // by row of the draft
  std::vector<uint32_t> depths_;
  std::vector<Guess> found_;
  uint32_t n_opened_ = 0;
};

// The row with this token right below `parent`; −1: there is none.
[[nodiscard]] inline int32_t find_child(const Draft& draft, int32_t parent, uint32_t token) {
  for (size_t row = static_cast<size_t>(parent + 1); row < draft.size(); ++row) {
    if (draft.parents[row] == parent && draft.tokens[row] == token) {
      return static_cast<int32_t>(row);
    }
  }
  return -1;
}

// Calls on_row(row, depth, claimed, hit) for every row of a draft whose parent was right and whose
// own fate is known: `claimed` is its probability given its parent.
template <class OnRow>
void each_judged_row(const StepSeen& seen, const OnRow& on_row) {
  const Draft& draft = *seen.draft;
  int32_t at = -1;
  for (uint32_t depth = 0; depth < seen.accepted.size(); ++depth) {
    const float above = at < 0 ? 1.0f : draft.probabilities[static_cast<size_t>(at)];
    int32_t next = -1;
    for (size_t row = static_cast<size_t>(at + 1); row < draft.size(); ++row) {
      if (draft.parents[row] != at) continue;
      const bool hit = draft.tokens[row] == seen.accepted[depth];
      if (hit) next = static_cast<int32_t>(row);
      on_row(static_cast<int32_t>(row), depth, above > 0 ? draft.probabilities[row] / above : 0.0f,
             hit);
    }
    if (next < 0) return;
    at = next;
  }
}

}  // namespace splitd

// Owns: lookahead's n-grams by their first token: a bounded number of sets, each of a bounded
// number of followers, the ones that came last. Memory is reserved once: at most 2^13 sets × 16 ×
// 28 bytes (3.6 MB). Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace splitd {

class NgramPool {
 public:
  static constexpr uint32_t kMostOfSet = 16;  // G at most
  static constexpr uint32_t kMostRest = 7;    // tokens behind the first

  // For n-grams of `n_rest` tokens behind the first, so many of them a first token. Forgets all.
  void reset(uint32_t n_rest, uint32_t n_of_set) {
    n_rest_ = std::min(n_rest, kMostRest);
    n_of_set_ = std::min(n_of_set, kMostOfSet);
    sets_.resize(kSets);
    for (Set& set : sets_) set.n = 0;
  }

  // The latest comes first; one that is here already moves there.
  void put(uint32_t first, std::span<const uint32_t> rest) {
    Set& set = sets_[slot(first)];
    if (set.n == 0 || set.first != first) {  // another token's set makes room
      set.first = first;
      set.n = 0;
    }
    Rest gram{};
    std::copy_n(rest.begin(), n_rest_, gram.begin());
    auto end = set.grams.begin() + set.n;
    auto at = std::find(set.grams.begin(), end, gram);
    if (at == end) {
      if (set.n < n_of_set_) {
        ++set.n;
      } else {
        --at;
      }
    }
    std::move_backward(set.grams.begin(), at, at + 1);
    set.grams[0] = gram;
  }

  uint32_t size(uint32_t first) const {
    const Set& set = sets_[slot(first)];
    return set.first == first ? set.n : 0;
  }
  // The i-th latest.
  std::span<const uint32_t> get(uint32_t first, uint32_t i) const {
    return std::span(sets_[slot(first)].grams[i]).first(n_rest_);
  }

 private:
  static constexpr size_t kSets = size_t{1} << 13;
  using Rest = std::array<uint32_t, kMostRest>;
  struct Set {
    uint32_t first = 0;
    uint32_t n = 0;
    std::array<Rest, kMostOfSet> grams;
  };
  static size_t slot(uint32_t first) { return (first * 0x9E3779B1u) >> 19; }

  uint32_t n_rest_ = 0;
  uint32_t n_of_set_ = 0;
  std::vector<Set> sets_;
};

}  // namespace splitd

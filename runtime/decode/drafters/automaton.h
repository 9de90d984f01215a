// Owns: a suffix automaton over token ids that grows at its end: every piece of every text that it
// has seen is a path from its root, and each place on it knows what followed there and how often.
// A token costs O(1) amortised. Memory is reserved once, for `capacity` tokens, and touched as it
// is needed: 2 states of 20 bytes, 3 edges of 24 and at most 32 bytes of index a token, 144 in all.
// Full, it takes nothing more in. Not thread-safe.
//
// Counts are kept as PPM does with update exclusion: a token counts at the longest context that has
// seen it before and at the longer ones, where it is new, and not at shorter ones, which would else
// be flooded with what longer ones explain. That is what the automaton touches anyway.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace splitd {

class SuffixAutomaton {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr uint32_t kMost = uint32_t{1} << 28;  // tokens; the indices of edges are 32 bits

  struct State {
    uint32_t length = 0;          // of the longest text that ends here
    uint32_t link = kNone;        // of the longest suffix of it that is a state of its own
    uint32_t first_edge = kNone;  // the one used last comes first
    uint32_t total = 0;           // of its edges' counts
    uint32_t n_edge = 0;
  };
  struct Edge {
    uint32_t state;
    uint32_t token;
    uint32_t target;
    uint32_t count;
    uint32_t next;      // of this state; kNone at the end
    uint32_t previous;  // kNone for the first
  };
  // A text's longest suffix that is known, as the automaton's place: `length` of its tokens.
  struct Place {
    uint32_t state = kRoot;
    uint32_t length = 0;
  };

  explicit SuffixAutomaton(uint32_t capacity);

  void clear();
  // What comes next is another text.
  void begin_text() { last_ = kRoot; }
  // The text goes on; false: full, and the token is not in.
  bool append(uint32_t token);
  bool full() const { return n_token_ >= capacity_; }
  uint32_t size() const { return n_token_; }

  // Where the text at hand ends.
  Place end() const { return {last_, states_[last_].length}; }
  // The place of a text and one more token. Nothing is learnt. Behind a long run (of one token, or
  // of a few in turn) shorter suffixes go one token at a time, 30,000 of them: only the longest
  // kMostLinks are tried there, then none but the token itself.
  Place enter(Place place, uint32_t token) const;

  const State& state(uint32_t index) const { return states_[index]; }
  const Edge& edge(uint32_t index) const { return edges_[index]; }
  // kNone where the token never followed.
  uint32_t find_edge(uint32_t state, uint32_t token) const;
  size_t bytes() const;

  static constexpr int kMostLinks = 32;

 private:
  void add_edge(uint32_t state, uint32_t token, uint32_t target, uint32_t count);
  void count_use(uint32_t edge);
  uint32_t clone(uint32_t from, uint32_t above, uint32_t token);
  size_t slot_of(uint32_t state, uint32_t token) const;

  uint32_t capacity_;
  uint32_t n_token_ = 0;
  uint32_t last_ = kRoot;
  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<uint32_t> index_;  // (state, token) → edge: open addressing, never full
};

}  // namespace splitd

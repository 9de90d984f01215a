// The construction of Blumer et al. (1985), for several texts one after another.
#include "runtime/decode/drafters/automaton.h"

#include <algorithm>
#include <bit>

namespace splitd {

SuffixAutomaton::SuffixAutomaton(uint32_t capacity) : capacity_(std::clamp(capacity, 1u, kMost)) {
  // Two states a token and the root, three edges: at most, so that nothing moves as it grows.
  states_.reserve(size_t{capacity_} * 2 + 2);
  edges_.reserve(size_t{capacity_} * 3 + 1);
  index_.resize(std::bit_ceil(size_t{capacity_} * 4));
  clear();
}

void SuffixAutomaton::clear() {
  n_token_ = 0;
  last_ = kRoot;
  states_.assign(1, State{});
  edges_.clear();
  std::fill(index_.begin(), index_.end(), kNone);
}

size_t SuffixAutomaton::bytes() const {
  return states_.capacity() * sizeof(State) + edges_.capacity() * sizeof(Edge) +
         index_.capacity() * sizeof(uint32_t);
}

// The slot that holds the edge, or the free one where it belongs.
size_t SuffixAutomaton::slot_of(uint32_t state, uint32_t token) const {
  const size_t mask = index_.size() - 1;
  uint64_t hash = (uint64_t{state} << 32 | token) * 0x9E3779B97F4A7C15u;
  for (size_t slot = static_cast<size_t>(hash >> 24) & mask;; slot = (slot + 1) & mask) {
    const uint32_t edge = index_[slot];
    if (edge == kNone || (edges_[edge].state == state && edges_[edge].token == token)) return slot;
  }
}

uint32_t SuffixAutomaton::find_edge(uint32_t state, uint32_t token) const {
  return index_[slot_of(state, token)];
}

void SuffixAutomaton::add_edge(uint32_t state, uint32_t token, uint32_t target, uint32_t count) {
  const auto edge = static_cast<uint32_t>(edges_.size());
  State& from = states_[state];
  index_[slot_of(state, token)] = edge;
  edges_.push_back({state, token, target, count, from.first_edge, kNone});
  if (from.first_edge != kNone) edges_[from.first_edge].previous = edge;
  from.first_edge = edge;
  from.total += count;
  from.n_edge += 1;
}

// Counts it, and puts it first.
void SuffixAutomaton::count_use(uint32_t edge) {
  Edge& used = edges_[edge];
  State& from = states_[used.state];
  used.count += 1;
  from.total += 1;
  if (from.first_edge == edge) return;
  edges_[used.previous].next = used.next;
  if (used.next != kNone) edges_[used.next].previous = used.previous;
  used.previous = kNone;
  used.next = from.first_edge;
  edges_[from.first_edge].previous = edge;
  from.first_edge = edge;
}

// `from` ends texts of several lengths, and only those up to that of `above` and one token more end
// here too: they get a state of their own, which follows the same way on.
uint32_t SuffixAutomaton::clone(uint32_t from, uint32_t above, uint32_t token) {
  const auto copy = static_cast<uint32_t>(states_.size());
  states_.push_back(State{states_[above].length + 1, states_[from].link});
  // Backwards, so that the order stays.
  uint32_t at = states_[from].first_edge;
  while (at != kNone && edges_[at].next != kNone) at = edges_[at].next;
  for (; at != kNone; at = edges_[at].previous) {
    const Edge edge = edges_[at];
    add_edge(copy, edge.token, edge.target, edge.count);
  }
  states_[from].link = copy;
  for (uint32_t state = above; state != kNone; state = states_[state].link) {
    const uint32_t edge = find_edge(state, token);
    if (edge == kNone || edges_[edge].target != from) break;
    edges_[edge].target = copy;
  }
  return copy;
}

bool SuffixAutomaton::append(uint32_t token) {
  if (full()) return false;
  ++n_token_;
  // An earlier text may have gone the same way.
  const uint32_t known = find_edge(last_, token);
  if (known != kNone) {
    count_use(known);
    const uint32_t target = edges_[known].target;
    const bool own = states_[target].length == states_[last_].length + 1;
    last_ = own ? target : clone(target, last_, token);
    return true;
  }
  const auto added = static_cast<uint32_t>(states_.size());
  states_.push_back(State{states_[last_].length + 1});
  uint32_t above = last_, edge = kNone;
  for (; above != kNone; above = states_[above].link) {
    edge = find_edge(above, token);
    if (edge != kNone) break;
    add_edge(above, token, added, 1);
  }
  uint32_t link = kRoot;
  if (above != kNone) {
    count_use(edge);
    const uint32_t target = edges_[edge].target;
    const bool own = states_[target].length == states_[above].length + 1;
    link = own ? target : clone(target, above, token);
  }
  states_[added].link = link;
  last_ = added;
  return true;
}

SuffixAutomaton::Place SuffixAutomaton::enter(Place place, uint32_t token) const {
  for (int i = 0; i < kMostLinks; ++i) {
    const uint32_t edge = find_edge(place.state, token);
    if (edge != kNone) return {edges_[edge].target, place.length + 1};
    const uint32_t link = states_[place.state].link;
    if (link == kNone) return {kRoot, 0};
    place = {link, states_[link].length};
  }
  const uint32_t edge = find_edge(kRoot, token);
  return edge == kNone ? Place{kRoot, 0} : Place{edges_[edge].target, 1};
}

}  // namespace splitd

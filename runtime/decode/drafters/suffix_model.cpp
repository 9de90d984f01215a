#include "runtime/decode/drafters/suffix_model.h"

#include <algorithm>
#include <bit>

#include "runtime/decode/drafters/corpus.h"

namespace splitd {

using State = SuffixAutomaton::State;

SuffixModel::SuffixModel(uint32_t capacity) : automaton_(std::max(2u, capacity)) {
  log_.reserve(size_t{std::max(2u, capacity)} * 2);
  // A long match goes on nearly always, a single token hardly ever; more so what has been seen to
  // go on one way more than once, less so what has gone on several ways.
  static constexpr std::array<float, kLengths> kPrior = {.3f, .4f, .65f, .75f, .8f, .9f, .96f};
  for (size_t length = 0; length < kLengths; ++length) {
    for (size_t kind = 0; kind < kKinds; ++kind) {
      for (size_t count = 0; count < kCounts; ++count) {
        const float odds = stretch(kPrior[length]) + (kind == 0 ? (count > 0 ? 0.8f : 0) : -0.4f);
        trust_[(length * kKinds + kind) * kCounts + count] = Rate(squash(odds), 4);
      }
    }
  }
}

size_t SuffixModel::trust_bucket(uint32_t length, const State& state) {
  const auto log2 = [](uint32_t n) { return static_cast<size_t>(std::bit_width(n)) - 1; };
  const size_t by_length = length < 4    ? std::max(length, 1u) - 1
                           : length < 6  ? 3
                           : length < 10 ? 4
                           : length < 20 ? 5
                                         : 6;
  const size_t by_kind = std::min(log2(state.n_edge), kKinds - 1);
  const size_t by_count = std::min(log2(std::max(1u, state.total)), kCounts - 1);
  return (by_length * kKinds + by_kind) * kCounts + by_count;
}

void SuffixModel::append_corpus(const TokenCorpus& corpus) {
  for (const uint32_t entry : corpus.entries()) {
    if (entry == TokenCorpus::kBoundary) {
      begin_text();
    } else {
      append(entry, false);
    }
  }
}

void SuffixModel::begin_text() {
  if (!log_.empty() && log_.back() != kBoundary) log_.push_back(kBoundary);
  automaton_.begin_text();
}

void SuffixModel::append(uint32_t token, bool learn) {
  if (learn) {
    found_.clear();
    raw_guesses(end(), found_);
    for (const Guess& guess : found_) calibration_.learn(guess.probability, guess.token == token);
    learn_trust(end(), token);
  }
  if (automaton_.full()) forget_half();
  log_.push_back(token);
  automaton_.append(token);
}

// The newest half stays. Once in half a capacity of tokens: O(1) amortised.
void SuffixModel::forget_half() {
  log_.erase(log_.begin(), log_.end() - static_cast<std::ptrdiff_t>(log_.size() / 2));
  automaton_.clear();
  for (const uint32_t token : log_) {
    if (token == kBoundary) {
      automaton_.begin_text();
    } else {
      automaton_.append(token);
    }
  }
}

void SuffixModel::learn_trust(Place place, uint32_t token) {
  uint32_t length = place.length;
  uint32_t state = place.state;
  for (int level = 0; level < kMostLevels && state != SuffixAutomaton::kRoot;) {
    const State& here = automaton_.state(state);
    if (here.n_edge > 0) {
      const bool known = automaton_.find_edge(state, token) != SuffixAutomaton::kNone;
      trust_[trust_bucket(length, here)].learn(known);
      if (known) return;
      ++level;
    }
    state = here.link;
    length = automaton_.state(state).length;
  }
}

uint32_t SuffixModel::match_length(Place place) const {
  while (place.state != SuffixAutomaton::kRoot && automaton_.state(place.state).n_edge == 0) {
    const uint32_t link = automaton_.state(place.state).link;
    place = {link, automaton_.state(link).length};
  }
  return place.length;
}

void SuffixModel::guesses(Place place, std::vector<Guess>& out) const {
  const size_t first = out.size();
  raw_guesses(place, out);
  for (size_t i = first; i < out.size(); ++i) {
    out[i].probability = calibration_.apply(out[i].probability);
  }
}

void SuffixModel::raw_guesses(Place place, std::vector<Guess>& out) const {
  const size_t first = out.size();
  float rest = 1;
  for (int level = 0; level < kMostLevels && place.state != SuffixAutomaton::kRoot;) {
    const State& here = automaton_.state(place.state);
    if (here.n_edge > 0) {
      const float trust = trust_[trust_bucket(place.length, here)].value();
      const float unit = rest * trust / static_cast<float>(here.total);
      uint32_t edge = here.first_edge;
      for (uint32_t i = 0; i < kMostEdges && edge != SuffixAutomaton::kNone; ++i) {
        const SuffixAutomaton::Edge& at = automaton_.edge(edge);
        edge = at.next;
        const auto same = [&](const Guess& guess) { return guess.token == at.token; };
        if (std::any_of(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), same))
          continue;
        out.push_back({at.token, unit * static_cast<float>(at.count)});
        if (out.size() == first + kMostGuesses) return;
      }
      rest *= 1 - trust;
      ++level;
    }
    place.state = here.link;
    place.length = automaton_.state(place.state).length;
  }
}

}  // namespace splitd

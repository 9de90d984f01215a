// Owns: what may follow a text, by where the end of it stood before: in the prompt, in what was
// generated, in earlier texts. The longest known suffix speaks first, shorter ones for what it does
// not know (prediction by partial matching); how far each is to be trusted is learnt as the text
// grows. Keeps the newest `capacity` tokens or more than half of them. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/automaton.h"
#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/drafters/guess.h"

namespace splitd {

class TokenCorpus;

class SuffixModel {
 public:
  using Place = SuffixAutomaton::Place;
  static constexpr uint32_t kDefaultCapacity = uint32_t{1} << 17;
  static constexpr size_t kMostGuesses = 12;  // of one place

  explicit SuffixModel(uint32_t capacity = kDefaultCapacity);

  void append_corpus(const TokenCorpus& corpus);
  void begin_text();
  // The text goes on. `learn`: the model said so, and how far matches are right is to be learnt.
  void append(uint32_t token, bool learn);

  Place end() const { return automaton_.end(); }
  Place enter(Place place, uint32_t token) const { return automaton_.enter(place, token); }
  // The length of the longest suffix that stood elsewhere too: how much is known here.
  uint32_t match_length(Place place) const;
  // Appends at most kMostGuesses guesses, all different, to `out`.
  void guesses(Place place, std::vector<Guess>& out) const;

 private:
  static constexpr uint32_t kBoundary = ~uint32_t{0};  // in log_: a text begins
  static constexpr int kMostLevels = 8;                // suffixes that are asked, longest first
  static constexpr uint32_t kMostEdges = 16;           // followers of one of them, latest first

  void forget_half();
  void learn_trust(Place place, uint32_t token);
  void raw_guesses(Place place, std::vector<Guess>& out) const;
  static size_t trust_bucket(uint32_t length, const SuffixAutomaton::State& state);

  SuffixAutomaton automaton_;
  std::vector<uint32_t> log_;  // what is in the automaton, in order
  // That what follows is among what followed: by length, kinds of followers, how often seen.
  static constexpr size_t kLengths = 7, kKinds = 4, kCounts = 4;
  std::array<Rate, kLengths * kKinds * kCounts> trust_;
  Calibration calibration_;
  std::vector<Guess> found_;  // scratch
};

}  // namespace splitd

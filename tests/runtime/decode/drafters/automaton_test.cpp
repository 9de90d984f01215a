// The suffix automaton against searching the texts themselves.
#include "runtime/decode/drafters/automaton.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "runtime/decode/drafters/suffix_model.h"

namespace splitd {
namespace {

using Text = std::vector<uint32_t>;

uint32_t below(uint32_t n, std::mt19937& random) {
  return static_cast<uint32_t>(random() % n);
}

// The length of the longest suffix of `text` that stands in one of `texts`.
uint32_t longest_suffix(const std::vector<Text>& texts, const Text& text) {
  for (size_t n = text.size(); n > 0; --n) {
    for (const Text& in : texts) {
      const auto at =
          std::search(in.begin(), in.end(), text.end() - static_cast<ptrdiff_t>(n), text.end());
      if (at != in.end()) return static_cast<uint32_t>(n);
    }
  }
  return 0;
}

// What follows the last `n` tokens of `text` in the texts.
std::set<uint32_t> followers(const std::vector<Text>& texts, const Text& text, uint32_t n) {
  std::set<uint32_t> out;
  for (const Text& in : texts) {
    for (size_t at = 0; at + n < in.size(); ++at) {
      if (std::equal(text.end() - n, text.end(), in.begin() + static_cast<ptrdiff_t>(at))) {
        out.insert(in[at + n]);
      }
    }
  }
  return out;
}

// A guess must not take a step for each token of a run that came before it.
TEST(SuffixAutomaton, LooksAtSoManySuffixesAndNoMore) {
  const auto length_behind_run = [](int run) {
    SuffixAutomaton automaton(2000);
    for (const uint32_t token : {5, 5, 7}) automaton.append(token);
    for (int i = 0; i < run; ++i) automaton.append(5);
    EXPECT_EQ(automaton.enter(automaton.end(), 5).length, static_cast<uint32_t>(run));
    EXPECT_EQ(automaton.enter(automaton.end(), 9).length, 0u);
    return automaton.enter(automaton.end(), 7).length;
  };
  EXPECT_EQ(length_behind_run(SuffixAutomaton::kMostLinks), 3u);
  EXPECT_EQ(length_behind_run(1000), 1u);
}

TEST(SuffixAutomaton, KnowsEveryPieceOfEveryText) {
  std::mt19937 random(1);
  std::set<uint32_t> lengths;
  for (int round = 0; round < 60; ++round) {
    const uint32_t n_kind = 1 + below(4, random);
    SuffixAutomaton automaton(200);
    std::vector<Text> texts;
    for (int i = 0; i < 3; ++i) {
      automaton.begin_text();
      texts.emplace_back();
      for (size_t n = random() % 40; n > 0; --n) {
        texts.back().push_back(below(n_kind, random));
        ASSERT_TRUE(automaton.append(texts.back().back()));
        ASSERT_EQ(automaton.end().length, texts.back().size());
      }
    }
    SuffixAutomaton::Place place;
    Text text;
    for (int i = 0; i < 60; ++i) {
      text.push_back(below(n_kind + 1, random));  // one that nobody knows among them
      place = automaton.enter(place, text.back());
      ASSERT_EQ(place.length, longest_suffix(texts, text));
      lengths.insert(place.length);
      std::set<uint32_t> next;
      for (uint32_t edge = automaton.state(place.state).first_edge; edge != SuffixAutomaton::kNone;
           edge = automaton.edge(edge).next) {
        next.insert(automaton.edge(edge).token);
      }
      ASSERT_EQ(next, followers(texts, text, place.length));
      ASSERT_EQ(next.size(), automaton.state(place.state).n_edge);
    }
  }
  EXPECT_GT(lengths.size(), 8u);
}

TEST(SuffixAutomaton, KeepsTheSumOfItsCounts) {
  std::mt19937 random(2);
  SuffixAutomaton automaton(5000);
  for (int i = 0; i < 5000; ++i) {
    if (random() % 100 == 0) automaton.begin_text();
    ASSERT_TRUE(automaton.append(below(7, random)));
  }
  EXPECT_FALSE(automaton.append(1));
  EXPECT_TRUE(automaton.full());
  uint32_t n_state = 0;
  std::vector<uint32_t> open = {SuffixAutomaton::kRoot};
  std::set<uint32_t> seen(open.begin(), open.end());
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    ++n_state;
    uint32_t total = 0;
    for (uint32_t edge = automaton.state(at).first_edge; edge != SuffixAutomaton::kNone;
         edge = automaton.edge(edge).next) {
      total += automaton.edge(edge).count;
      EXPECT_EQ(automaton.find_edge(at, automaton.edge(edge).token), edge);
      if (seen.insert(automaton.edge(edge).target).second)
        open.push_back(automaton.edge(edge).target);
    }
    ASSERT_EQ(total, automaton.state(at).total);
  }
  EXPECT_LE(n_state, 2 * 5000u + 1);
}

TEST(SuffixAutomaton, StaysInWhatItReserved) {
  // The texts that need most states and most edges, and many small ones.
  for (const int kind : {0, 1, 2, 3}) {
    SuffixAutomaton automaton(3000);
    const size_t before = automaton.bytes();
    for (uint32_t i = 0; !automaton.full(); ++i) {
      if (kind == 3 && i % 3 == 0) automaton.begin_text();
      const uint32_t token = kind == 0   ? (i == 0 ? 0 : 1)
                             : kind == 1 ? (i == 0      ? 0
                                            : i == 2999 ? 2
                                                        : 1)
                             : kind == 2 ? i % 2
                                         : (i * 2654435761u) >> 29;
      automaton.append(token);
    }
    EXPECT_EQ(automaton.bytes(), before) << kind;
  }
}

TEST(SuffixModel, ForgetsTheOldestAndGoesOn) {
  SuffixModel model(1000);
  model.begin_text();
  std::vector<Guess> guesses;
  // 0 1 2 … 99 again and again, far beyond the capacity.
  for (uint32_t i = 0; i < 10000; ++i) model.append(i % 100, true);
  EXPECT_GE(model.match_length(model.end()), 100u);
  model.guesses(model.end(), guesses);
  ASSERT_FALSE(guesses.empty());
  EXPECT_EQ(guesses[0].token, 0u);
  EXPECT_GT(guesses[0].probability, 0.9f);
}

}  // namespace
}  // namespace splitd

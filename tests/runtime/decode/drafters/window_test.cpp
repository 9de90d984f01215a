// Jacobi and lookahead: the drafters whose guesses are made of rows beside the text.
#include <gtest/gtest.h>

#include "runtime/decode/drafters/guess.h"
#include "runtime/decode/drafters/jacobi.h"
#include "runtime/decode/drafters/lookahead.h"
#include "tests/runtime/decode/drafters/toy_loop.h"

namespace splitd {
namespace {

using Text = std::vector<uint32_t>;
using Next = std::function<uint32_t(const Text&)>;

Text path_to(const Text& text, const Draft& draft, int32_t row) {
  Text path;
  for (; row >= 0; row = draft.parents[static_cast<size_t>(row)]) {
    path.push_back(draft.tokens[static_cast<size_t>(row)]);
  }
  path.insert(path.end(), text.rbegin(), text.rend());
  std::reverse(path.begin(), path.end());
  return path;
}

// One step of the verify loop; all rows are shown. Returns the tokens accepted.
size_t step(Drafter& drafter, const Next& next, Text& text, Draft& draft, uint32_t budget) {
  draft.clear();
  EXPECT_TRUE(drafter.propose({text, text.size(), budget, text.size()}, draft).ok());
  toy::expect_valid(draft, budget, 1u << 20);
  std::vector<SeenRow> rows;
  for (int32_t row = -1; row < static_cast<int32_t>(draft.size()); ++row) {
    rows.push_back({row, next(path_to(text, draft, row)), {}, {}});
  }
  Text accepted;
  int32_t at = -1;
  do {
    accepted.push_back(rows[static_cast<size_t>(at + 1)].next);
    at = find_child(draft, at, accepted.back());
  } while (at >= 0);
  drafter.observe({text, &draft, accepted, rows});
  text.insert(text.end(), accepted.begin(), accepted.end());
  return accepted.size();
}

// Depends on the last `n` tokens, and looks like noise.
Next noise(size_t n, uint32_t n_kind) {
  return [n, n_kind](const Text& text) {
    uint32_t hash = 17;
    for (size_t i = text.size() - std::min(n, text.size()); i < text.size(); ++i) {
      hash = (hash ^ text[i]) * 2654435761u;
      hash ^= hash >> 15;
    }
    return hash % n_kind;
  };
}

TEST(Jacobi, IteratesTheWholeBlock) {
  const Next next = noise(2, 1000);
  JacobiDrafter drafter(8);
  Text text = {1, 2, 3};
  drafter.begin(text);
  Draft draft;
  Text expected;  // what the block has to be: the model after each guess of the step before
  size_t n_kept = 0;
  for (int i = 0; i < 60; ++i) {
    const Text before = text;
    const size_t n = step(drafter, next, text, draft, 8);
    ASSERT_EQ(draft.size(), 8u);
    for (size_t at = 0; at < expected.size(); ++at) ASSERT_EQ(draft.tokens[at], expected[at]);
    n_kept += expected.size();
    expected.clear();
    for (size_t at = n; at <= draft.size(); ++at) {
      expected.push_back(next(path_to(before, draft, static_cast<int32_t>(at) - 1)));
    }
    for (const uint8_t wanted : draft.wanted) EXPECT_EQ(wanted, 1);
  }
  EXPECT_GT(n_kept, 300u);
}

TEST(Jacobi, ABlockTakesAtMostAsManyStepsAsItHasTokens) {
  for (const size_t context : {1u, 3u, 100u}) {
    const Next next = noise(context, 50);
    JacobiDrafter drafter(12);
    Text text = {5};
    drafter.begin(text);
    Text right = text;
    while (right.size() < 200) right.push_back(next(right));
    Draft draft;
    // After t steps the first t places of the block that began at `first` are right.
    while (text.size() < 150) {
      const size_t first = text.size();
      for (size_t t = 1; t <= 12; ++t) {
        step(drafter, next, text, draft, 12);
        ASSERT_GE(text.size(), first + t);
        ASSERT_TRUE(std::equal(text.begin(), text.end(), right.begin()));
      }
    }
  }
}

TEST(Jacobi, FindsAllAtOnceWhatDependsOnThePlaceAlone) {
  const Next next = [](const Text& text) { return static_cast<uint32_t>(text.size() * 37 % 101); };
  JacobiDrafter drafter(16);
  Text text = {5};
  drafter.begin(text);
  Draft draft;
  size_t n_token = 0;
  for (int i = 0; i < 20; ++i) n_token += step(drafter, next, text, draft, 16);
  EXPECT_GT(n_token, 20 * 7u);
}

TEST(Lookahead, TheWindowIsThePapers) {
  constexpr uint32_t kW = 6, kN = 5;
  const Next next = noise(1, 100000);
  LookaheadDrafter drafter({.window = kW, .n_gram = kN, .candidates = 4});
  Text text = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  drafter.begin(text);
  Draft draft;
  for (int i = 0; i < 12; ++i) {
    const Text before = text;
    step(drafter, next, text, draft, 200);
    const auto n_wanted = std::count(draft.wanted.begin(), draft.wanted.end(), 1);
    if (i >= static_cast<int>(kN) - 2) {
      // W columns of N−1 levels; that of the last token is no row of its own.
      EXPECT_EQ(n_wanted, kW * (kN - 1) - 1);
      // A cell is what the model says after the one above it: of a model with one token of context
      // that holds but for random tokens of level 0, and for column 0, whose top is the last token.
      size_t n_said = 0;
      for (size_t row = 0; row < draft.size(); ++row) {
        const int32_t parent = draft.parents[row];
        n_said += next(path_to(before, draft, parent)) == draft.tokens[row] ? 1 : 0;
      }
      EXPECT_GE(n_said, kW * (kN - 2) - 1);
    }
  }
}

TEST(Lookahead, VerifiesNgramsThatTheModelMade) {
  // One token of context over few tokens: what was in the window once will come again.
  const Next next = noise(1, 300);
  LookaheadDrafter drafter({.window = 8, .n_gram = 4, .candidates = 8});
  Text text = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  drafter.begin(text);
  Draft draft;
  size_t n_candidate = 0, n_said = 0;
  for (int i = 0; i < 100; ++i) {
    const Text before = text;
    step(drafter, next, text, draft, 64);
    for (size_t row = 0; row < draft.size(); ++row) {
      if (draft.probabilities[row] == 0) continue;
      ++n_candidate;
      n_said += next(path_to(before, draft, draft.parents[row])) == draft.tokens[row] ? 1 : 0;
    }
  }
  EXPECT_GT(n_candidate, 50u);
  // Column 0 puts the last token above what was said after another.
  EXPECT_GT(static_cast<double>(n_said), 0.8 * static_cast<double>(n_candidate));
  EXPECT_GT(text.size(), 9u + 200);
}

TEST(Lookahead, SurvivesWindowsThatAreCut) {
  const toy::Model model(50, 0, 2);
  LookaheadDrafter drafter;
  std::vector<uint32_t> text = {1, 2};
  const toy::Run run =
      toy::drive(drafter, model, text, {.budget = 40, .n_token = 400, .cuts = true});
  EXPECT_GT(run.tokens_per_step(), 1.5);
}

TEST(NgramPool, KeepsTheLatestOfEachSet) {
  NgramPool pool;
  pool.reset(2, 3);
  const auto put = [&](uint32_t first, uint32_t a, uint32_t b) {
    pool.put(first, std::vector<uint32_t>{a, b});
  };
  for (uint32_t i = 0; i < 5; ++i) put(7, i, i + 1);
  put(7, 3, 4);
  ASSERT_EQ(pool.size(7), 3u);
  EXPECT_EQ(pool.size(8), 0u);
  EXPECT_EQ(pool.get(7, 0)[0], 3u);
  EXPECT_EQ(pool.get(7, 1)[0], 4u);
  EXPECT_EQ(pool.get(7, 2)[0], 2u);
  for (uint32_t first = 0; first < 100000; ++first) put(first, 1, 2);
  EXPECT_EQ(pool.size(99999), 1u);
}

}  // namespace
}  // namespace splitd

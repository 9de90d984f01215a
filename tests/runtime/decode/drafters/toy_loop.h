// A language of its own and the smallest verify loop, to drive drafters without a model. The toy
// model's next token is a function of the text alone; its logits' top is known too.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "runtime/decode/drafters/make_drafter.h"

namespace splitd::toy {

// A Markov chain of two tokens of context over `n_vocab` tokens: three followers each, the first
// the likeliest. At `heat` 0 the first always follows; else the text is a sample, fixed by
// position.
class Model {
 public:
  Model(uint32_t n_vocab, double heat, uint64_t seed)
      : n_vocab_(n_vocab), heat_(heat), seed_(seed) {}

  uint32_t n_vocab() const { return n_vocab_; }

  // Eight of them, best first; all different.
  void top(std::span<const uint32_t> text, std::vector<uint32_t>& tokens,
           std::vector<float>& probabilities) const {
    const uint32_t a = text.back(), b = text.size() > 1 ? text[text.size() - 2] % 3 : 0;
    std::mt19937_64 random(seed_ * 1000003 + a * 31 + b);
    tokens.clear();
    probabilities.clear();
    while (tokens.size() < std::min(8u, n_vocab_)) {
      const auto token = static_cast<uint32_t>(random() % n_vocab_);
      if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    }
    const double first = 1 - heat_;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const double p = i == 0 ? first : i == 1 ? heat_ * 0.7 : i == 2 ? heat_ * 0.3 : 0;
      probabilities.push_back(static_cast<float>(p));
    }
  }
  uint32_t next(std::span<const uint32_t> text) const {
    std::vector<uint32_t> tokens;
    std::vector<float> probabilities;
    top(text, tokens, probabilities);
    std::mt19937_64 random(seed_ + 7919 * text.size());
    const double draw = std::uniform_real_distribution<>(0, 1)(random);
    const size_t which = draw < 1 - heat_ ? 0 : draw < 1 - heat_ * 0.3 ? 1 : 2;
    return tokens[std::min(which, tokens.size() - 1)];
  }

 private:
  uint32_t n_vocab_;
  double heat_;
  uint64_t seed_;
};

// The drafters that need no model.
inline std::vector<std::string_view> plain_drafters() {
  std::vector<std::string_view> names;
  for (const std::string_view name : drafter_names()) {
    if (!drafter_needs_model(name)) names.push_back(name);
  }
  return names;
}

// A drafter's name, for GoogleTest.
inline std::string test_name(std::string_view drafter) {
  std::string name(drafter);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// What every draft has to be.
inline void expect_valid(const Draft& draft, uint32_t budget, uint32_t n_vocab) {
  ASSERT_LE(draft.size(), budget);
  ASSERT_EQ(draft.parents.size(), draft.size());
  ASSERT_EQ(draft.probabilities.size(), draft.size());
  ASSERT_EQ(draft.wanted.size(), draft.size());
  std::set<std::pair<int32_t, uint32_t>> siblings;
  float before = 1;
  for (size_t row = 0; row < draft.size(); ++row) {
    ASSERT_LT(draft.tokens[row], n_vocab);
    ASSERT_GE(draft.parents[row], -1);
    ASSERT_LT(draft.parents[row], static_cast<int32_t>(row));
    ASSERT_TRUE(siblings.emplace(draft.parents[row], draft.tokens[row]).second) << "row " << row;
    const float p = draft.probabilities[row];
    ASSERT_GE(p, 0);
    ASSERT_LE(p, 1);
    ASSERT_LE(p, before) << "row " << row;
    if (draft.parents[row] >= 0) {
      ASSERT_LE(p, draft.probabilities[static_cast<size_t>(draft.parents[row])]);
    }
    before = p;
  }
}

struct Run {
  uint64_t n_step = 0;
  uint64_t n_token = 0;
  double tokens_per_step() const {
    return static_cast<double>(n_token) / static_cast<double>(n_step);
  }
};

// A row of a draft, what it claimed and whether it came true.
using OnRow = std::function<void(float claimed, bool right)>;

struct LoopOptions {
  uint32_t budget = 16;
  size_t n_token = 300;
  bool cuts = false;         // sends only a part of a draft now and then
  bool looks_ahead = false;  // asks for drafts below guesses too, which are never observed
  bool shows_all = true;     // rows beside the path as well
};

// Lets `text` grow by n_token tokens of the model, as the session does it.
inline Run drive(Drafter& drafter, const Model& model, std::vector<uint32_t>& text,
                 const LoopOptions& options, const OnRow& on_row = {}) {
  Run run;
  Draft draft, ahead;
  std::mt19937 random(1);
  std::vector<std::vector<uint32_t>> tops;
  std::vector<std::vector<float>> top_probabilities;
  std::vector<SeenRow> rows;
  std::vector<uint32_t> path, guessed, accepted;
  const size_t n_end = text.size() + options.n_token;
  drafter.begin(text);
  text.push_back(model.next(text));
  while (text.size() < n_end) {
    draft.clear();
    EXPECT_TRUE(drafter.propose({text, text.size(), options.budget, text.size()}, draft).ok());
    expect_valid(draft, options.budget, model.n_vocab());
    if (testing::Test::HasFatalFailure()) return run;
    if (options.looks_ahead && draft.size() > 0) {
      guessed = text;
      for (size_t i = 0; i < 1 + random() % 3; ++i) {
        guessed.push_back(draft.tokens[random() % draft.size()]);
      }
      ahead.clear();
      EXPECT_TRUE(
          drafter.propose({guessed, text.size(), options.budget, guessed.size()}, ahead).ok());
      expect_valid(ahead, options.budget, model.n_vocab());
      if (testing::Test::HasFatalFailure()) return run;
    }
    if (options.cuts && random() % 3 == 0) draft.cut(random() % (draft.size() + 1));

    // Which rows are right, and what the model says at all of them.
    accepted.clear();
    int32_t at = -1;
    std::vector<uint8_t> right(draft.size(), 0);
    while (true) {
      path = text;
      path.insert(path.end(), accepted.begin(), accepted.end());
      accepted.push_back(model.next(path));
      int32_t next = -1;
      for (size_t row = 0; row < draft.size(); ++row) {
        if (draft.parents[row] == at && draft.tokens[row] == accepted.back()) {
          next = static_cast<int32_t>(row);
        }
      }
      if (next < 0) break;
      right[static_cast<size_t>(next)] = 1;
      at = next;
    }
    rows.clear();
    tops.resize(draft.size() + 1);
    top_probabilities.resize(draft.size() + 1);
    for (int32_t row = -1; row < static_cast<int32_t>(draft.size()); ++row) {
      const bool on_path = row < 0 || right[static_cast<size_t>(row)] != 0;
      if (!on_path && !options.shows_all) continue;
      path.clear();
      for (int32_t up = row; up >= 0; up = draft.parents[static_cast<size_t>(up)]) {
        path.push_back(draft.tokens[static_cast<size_t>(up)]);
      }
      path.insert(path.end(), text.rbegin(), text.rend());
      std::reverse(path.begin(), path.end());
      const auto i = static_cast<size_t>(row + 1);
      model.top(path, tops[i], top_probabilities[i]);
      rows.push_back({row, model.next(path), tops[i], top_probabilities[i]});
    }
    if (on_row) {
      for (size_t row = 0; row < draft.size(); ++row)
        on_row(draft.probabilities[row], right[row] != 0);
    }
    accepted.resize(std::min(accepted.size(), n_end - text.size()));
    drafter.observe({text, &draft, accepted, rows});
    text.insert(text.end(), accepted.begin(), accepted.end());
    run.n_step += 1;
    run.n_token += accepted.size();
  }
  return run;
}

}  // namespace splitd::toy

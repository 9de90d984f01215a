// Drafters for tests of the loop: any tree at all, always right, always wrong. They know the text
// that must come out, and check what the loop tells them against it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/decode/drafter.h"

namespace splitd {

// What every observation must satisfy. `truth` is the prompt and all that follows it.
inline void check_seen(const StepSeen& seen, std::span<const uint32_t> truth, uint32_t n_top) {
  const size_t n = seen.text.size();
  ASSERT_LE(n + seen.accepted.size(), truth.size());
  EXPECT_TRUE(std::equal(seen.text.begin(), seen.text.end(), truth.begin()));
  EXPECT_TRUE(std::equal(seen.accepted.begin(), seen.accepted.end(),
                         truth.begin() + static_cast<std::ptrdiff_t>(n)));
  ASSERT_FALSE(seen.accepted.empty());
  ASSERT_FALSE(seen.rows.empty());
  EXPECT_EQ(seen.rows.front().row, -1);
  EXPECT_EQ(seen.rows.front().next, seen.accepted.front());
  int32_t before = -2;
  for (const SeenRow& row : seen.rows) {
    EXPECT_LT(before, row.row);
    EXPECT_LT(row.row, static_cast<int64_t>(seen.draft->size()));
    before = row.row;
    ASSERT_EQ(row.top.size(), n_top);
    ASSERT_EQ(row.top_probability.size(), n_top);
    for (size_t i = 1; i < n_top; ++i) {
      EXPECT_GE(row.top_probability[i - 1], row.top_probability[i]);
      EXPECT_NE(row.top[i - 1], row.top[i]);
    }
    EXPECT_TRUE(n_top == 0 || row.top_probability[0] <= 1.0001F);
  }
}

// Any tree: right, wrong, empty, beyond the budget, a long chain, one broad level, siblings that
// are the same, rows that want to be seen.
class RandomDrafter final : public Drafter {
 public:
  RandomDrafter(uint32_t seed, std::vector<uint32_t> truth, uint32_t n_vocab)
      : random_(seed), truth_(std::move(truth)), n_vocab_(n_vocab), n_top_(seed % 3) {}

  std::string_view name() const override { return "random"; }
  uint32_t n_top() const override { return n_top_; }
  void begin(std::span<const uint32_t> prompt) override {
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), truth_.begin()));
  }

  Status propose(const DraftRequest& request, Draft& draft) override {
    EXPECT_EQ(draft.size(), 0u);
    EXPECT_EQ(request.position, request.text.size());
    EXPECT_LE(request.n_certain, request.text.size());
    EXPECT_TRUE(std::equal(request.text.begin(),
                           request.text.begin() + static_cast<std::ptrdiff_t>(request.n_certain),
                           truth_.begin()));
    EXPECT_GT(request.budget, 0u);
    const uint32_t kind = below(8);
    const uint32_t n = kind == 0   ? 0
                       : kind == 1 ? request.budget + 1 + below(20)
                                   : below(std::min(request.budget, 24u) + 1);
    const uint32_t percent_right = below(4) * 33;
    const bool wants = below(2) == 0;  // to see rows beside the text
    std::vector<size_t> depth;
    float probability = 1;
    for (uint32_t i = 0; i < n; ++i) {
      int32_t parent = static_cast<int32_t>(below(3) == 0 ? below(i + 1) : i) - 1;
      if (kind == 2) parent = -1;
      if (kind == 3) parent = static_cast<int32_t>(i) - 1;
      const size_t d = parent < 0 ? 0 : depth[static_cast<size_t>(parent)] + 1;
      depth.push_back(d);
      const size_t at = request.text.size() + d;
      const bool right = below(100) < percent_right && at < truth_.size();
      const uint32_t wrong = below(5) == 0 && i > 0 ? draft.tokens[i - 1] : below(n_vocab_);
      probability *= 0.5F + 0.5F * static_cast<float>(below(100)) / 100;
      draft.add(right ? truth_[at] : wrong, parent, probability, wants && below(6) == 0);
    }
    return {};
  }

  void observe(const StepSeen& seen) override {
    check_seen(seen, truth_, n_top_);
    std::set<int32_t> rows;
    for (const SeenRow& row : seen.rows) rows.insert(row.row);
    n_accepted += seen.accepted.size() - 1;
    ++n_observed;
    n_beside += rows.size() > seen.accepted.size() ? 1 : 0;
  }

  size_t n_accepted = 0;
  size_t n_observed = 0;
  size_t n_beside = 0;  // times when rows beside the path were seen

 private:
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  std::mt19937 random_;
  std::vector<uint32_t> truth_;
  uint32_t n_vocab_;
  uint32_t n_top_;
};

// Always right, or never, and sure of itself in both cases.
class ChainDrafter final : public Drafter {
 public:
  ChainDrafter(std::vector<uint32_t> truth, bool right, uint32_t n_row, uint32_t n_vocab)
      : truth_(std::move(truth)), right_(right), n_row_(n_row), n_vocab_(n_vocab) {}

  std::string_view name() const override { return right_ ? "oracle" : "wrong"; }
  void begin(std::span<const uint32_t>) override {}
  Status propose(const DraftRequest& request, Draft& draft) override {
    for (uint32_t i = 0; i < std::min(n_row_, request.budget); ++i) {
      const size_t at = request.text.size() + i;
      if (at >= truth_.size()) break;
      const uint32_t token = right_ ? truth_[at] : (truth_[at] + 1) % n_vocab_;
      draft.add(token, static_cast<int32_t>(i) - 1, claimed);
    }
    return {};
  }
  void observe(const StepSeen& seen) override { check_seen(seen, truth_, 0); }

  float claimed = 0.97F;  // of each row

 private:
  std::vector<uint32_t> truth_;
  bool right_;
  uint32_t n_row_, n_vocab_;
};

}  // namespace splitd

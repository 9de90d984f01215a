// Owns: lookahead decoding (Fu et al. 2024): beside what is verified, a window of Jacobi rows goes
// through the model in the same batch, W columns of N−1 levels. A level holds what the model said
// after the level above, one step before, so a column is a trajectory: N tokens that the model
// finds follow each other. They go into a pool by their first token; up to G of those that begin
// with the last token are verified. As in the authors' code the window's first column stands on the
// last token, and the window moves one place a step however much was accepted. Row (level l, column
// i) hangs below row (l−1, i), and level 0 is a chain, so a row attends to just what the paper's
// mask shows it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/drafters/ngram_pool.h"

namespace splitd {

struct LookaheadOptions {
  uint32_t window = 0;      // W; 0: half of the rows that the budget allows
  uint32_t n_gram = 0;      // N, 3 at least; 0: 5, fewer where the budget is small
  uint32_t candidates = 0;  // G; 0: as many as columns
};

class LookaheadDrafter final : public Drafter {
 public:
  explicit LookaheadDrafter(const LookaheadOptions& options = {}) : options_(options) {
    for (auto& rank : rates_) rank.fill(Rate(0.4f, 4));
  }

  std::string_view name() const override { return "lookahead"; }
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  static constexpr int32_t kLastToken = -2;  // in deepest_: the last token's own row
  static constexpr uint32_t kMostColumns = 64, kMostGram = 8, kRanks = 4;
  struct Shape {
    uint32_t window = 0, n_gram = 0, candidates = 0;
    bool operator==(const Shape&) const = default;
    uint32_t rows() const { return (window + candidates) * (n_gram - 1); }
  };
  // A row that the drafter may propose for a candidate.
  struct Option {
    float path;
    uint32_t rank, depth;
  };

  Shape shape_for(uint32_t budget) const;
  void restart(std::span<const uint32_t> text);
  void add_candidates(uint32_t last, uint32_t budget, Draft& draft);
  void add_window(uint32_t budget, Draft& draft);
  void advance(const StepSeen& seen);
  Rate& rate(uint32_t rank, uint32_t depth) { return rates_[std::min(rank, kRanks - 1)][depth]; }
  // Level by level, each n_column_ long (while it fills, N−2 more than W and one less each step).
  uint32_t& cell(uint32_t level, uint32_t column) { return cells_[level][column]; }

  LookaheadOptions options_;
  Shape shape_;
  NgramPool pool_;
  std::array<std::array<uint32_t, kMostColumns + kMostGram>, kMostGram> cells_{};
  uint32_t n_level_ = 0;  // that are filled; 0: no window yet
  uint32_t n_column_ = 0;
  uint32_t random_ = 1;
  // The rows of the draft that the window's deepest cells became, by column; −1: not sent.
  std::array<int32_t, kMostColumns + kMostGram> deepest_{};
  size_t proposed_at_ = 0;       // the length of the text they hang below; 0: none
  std::vector<Option> sorted_;   // scratch
  std::vector<int32_t> row_of_;  // by candidate and depth
  std::array<std::array<Rate, kMostGram>, kRanks> rates_;
};

}  // namespace splitd

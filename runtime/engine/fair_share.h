// Owns: how a batch is shared by what rows cost, not by their number: what a row takes, learnt from
// batches that were measured, and rows for each of several claims such that all of them will have
// had the same time. Plain arithmetic; knows no sessions and no clock. Not thread-safe.
#pragma once

#include <cstddef>
#include <span>

namespace splitd {

// What makes a batch long: its rows, and the rows that those attend to.
struct RowLoad {
  double rows = 0;
  double reach = 0;

  RowLoad& operator+=(const RowLoad& more) {
    rows += more.rows;
    reach += more.reach;
    return *this;
  }
};

// Milliseconds of a load: so much a row, and so much for each row that one attends to. Both are
// fitted by least squares to the last few dozen batches.
class RowCost {
 public:
  void learn(const RowLoad& load, double ms);
  // Positive for any row. Before anything was learnt a row costs 1.
  double ms(const RowLoad& load) const {
    return load.rows * ms_per_row_ + load.reach * ms_per_reach_;
  }

 private:
  double ms_per_row_ = 1;
  double ms_per_reach_ = 0;
  // Sums over batches, older ones counting less.
  double rows_rows_ = 0, rows_reach_ = 0, reach_reach_ = 0, rows_ms_ = 0, reach_ms_ = 0;
};

// Somebody who wants rows of a batch.
struct RowClaim {
  double spent_ms = 0;  // had so far, on whatever scale all claims share
  double row_ms = 1;    // what the next rows cost each; > 0
  size_t want = 0;
  size_t rows = 0;  // out
};

// Gives `room` rows, or all that are wanted: whoever had least gets first, until all had the same,
// but for a row; between equals the earlier claim.
void share_rows(std::span<RowClaim> claims, size_t room);

}  // namespace splitd

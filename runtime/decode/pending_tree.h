// Owns: the rows that were sent and are not text yet: one tree over all frames in flight, and the
// frames whose replies are owed, in their order. Pure bookkeeping: knows neither stages nor what a
// token is. Allocates nothing once warm. Not thread-safe.
//
// The text ends with its last token, whose row is the tree's root: rows()[0]. A frame hangs from
// the text or from a row of a frame before it; the rest of a draft, which follows the likelier part
// of it in frames of its own, from any of that part's rows. When the walk leaves a frame, the tree
// goes on from the row that it came to; frames that lose all of their rows are dead, and only their
// replies remain.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafter.h"
#include "runtime/engine/stage.h"

namespace splitd {

struct PendingRow {
  uint32_t token = 0;
  int32_t parent = -1;     // index in rows(); −1: the text
  uint32_t position = 0;   // in the text
  int32_t draft_row = -1;  // index in its frame's draft; −1: the last token's
  float probability = 1;   // that the path down to here is right, when it was sent
  RowId head_id = kNoRow;
  RowId body_id = kNoRow;
  RowId tail_id = kNoRow;   // kNoRow until the tail has seen it
  uint32_t logits = 0;      // which of the logits at hand, once the tail has seen it
  uint32_t next = 0;        // the token after it
  bool is_reached = false;  // by the walk: `next` is text
};

struct PendingFrame {
  uint32_t first = 0;  // index of its first row; those that were cut off left the tree
  uint32_t n_row = 0;  // 0: dead
  uint32_t n_sent = 0;
  size_t n_text = 0;            // tokens before its first guess
  bool has_last_token = false;  // its first row is the text's last token
  // A part of the draft of the frame before, with nothing of its own but rows, until the walk comes
  // to it: then it has what is left of that draft.
  bool is_rest = false;
  bool was_rest = false;  // …and the walk did
  Draft draft;            // as sent, with what follows in other frames

  // What it cost so far.
  std::chrono::steady_clock::time_point submitted;
  double head_ms = 0;
  bool is_alone = true;
};

class PendingTree {
 public:
  // Room for frames of so many rows in all.
  void reserve(uint32_t n_row);
  void clear();  // owes nothing

  std::span<PendingRow> rows() { return rows_; }
  template <typename Index>
  PendingRow& row(Index i) {
    return rows_[static_cast<size_t>(i)];
  }
  std::span<PendingRow> rows_of(const PendingFrame& frame) {
    return rows().subspan(frame.first, frame.n_row);
  }
  uint32_t n_row() const { return static_cast<uint32_t>(rows_.size()); }
  bool empty() const { return rows_.empty(); }

  // Frames whose replies are owed, the oldest first; dead ones among them.
  uint32_t n_owed() const { return n_owed_; }
  uint32_t n_live() const;
  PendingFrame& frame(uint32_t i) { return frames_[(oldest_ + i) % kReplyWindow]; }

  // A frame of the text's last token and the first `n_first` rows of the draft below it, in an
  // empty tree; or of a draft below the row `base`. Takes `draft` and gives another one back for
  // its memory. Requires fewer than kReplyWindow owed.
  PendingFrame& add(uint32_t last_token, uint32_t position, Draft& draft, uint32_t n_first);
  PendingFrame& add_below(uint32_t base, Draft& draft);
  // A frame of the next `n_row` rows of the draft that add() took, before anything else is added.
  PendingFrame& add_rest(uint32_t n_row);
  // The oldest frame's reply has come: its place is free. Its rows stay in the tree.
  void pop();

  // The child of `row` that has this token, or −1.
  int32_t child(uint32_t row, uint32_t token) const;
  // The end of the likeliest path below `row`.
  uint32_t likeliest_leaf(uint32_t row) const;
  // `row` becomes the root: what is not below it leaves the tree.
  void go_on_from(uint32_t row);
  // Every row leaves the tree.
  void drop_rows();
  // Forgets dead frames: their replies will not come.
  void forget_dead();

 private:
  PendingFrame& add_frame(uint32_t first);
  void add_rows(uint32_t base, const Draft& draft, size_t begin, size_t end);
  void take_rest_of_draft();

  std::vector<PendingRow> rows_;  // a parent stands before its children
  std::vector<int32_t> moved_to_;
  std::array<PendingFrame, kReplyWindow> frames_;  // a ring
  uint32_t oldest_ = 0;
  uint32_t n_owed_ = 0;
};

}  // namespace splitd

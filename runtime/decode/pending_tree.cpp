#include "runtime/decode/pending_tree.h"

#include <algorithm>
#include <utility>

namespace splitd {

void PendingTree::reserve(uint32_t n_row) {
  rows_.reserve(n_row);
  for (PendingFrame& frame : frames_) frame.draft.reserve(n_row);
}

void PendingTree::clear() {
  rows_.clear();
  oldest_ = n_owed_ = 0;
}

uint32_t PendingTree::n_live() const {
  uint32_t n = 0;
  for (uint32_t i = 0; i < n_owed_; ++i) {
    n += frames_[(oldest_ + i) % kReplyWindow].n_row > 0 ? 1 : 0;
  }
  return n;
}

PendingFrame& PendingTree::add(uint32_t last_token, uint32_t position, Draft& draft,
                               uint32_t n_first) {
  rows_.emplace_back();
  rows_.back().token = last_token;
  rows_.back().position = position;
  add_rows(0, draft, 0, n_first);
  PendingFrame& out = add_frame(0);
  out.n_text = size_t{position} + 1;
  out.has_last_token = true;
  out.is_alone = true;  // what else is owed is dead
  std::swap(out.draft, draft);
  draft.clear();
  return out;
}

PendingFrame& PendingTree::add_below(uint32_t base, Draft& draft) {
  const uint32_t first = n_row();
  add_rows(base, draft, 0, draft.size());
  if (n_owed_ > 0) frame(n_owed_ - 1).is_alone = false;
  PendingFrame& out = add_frame(first);
  out.n_text = size_t{rows_[base].position} + 1;
  std::swap(out.draft, draft);
  draft.clear();
  return out;
}

// The frame of the likelier rows does not wait for these: it is as alone as it was.
PendingFrame& PendingTree::add_rest(uint32_t n_row) {
  uint32_t owner = n_owed_ - 1;
  while (frame(owner).is_rest) --owner;
  const uint32_t first = this->n_row();
  add_rows(0, frame(owner).draft, first - 1, first - 1 + n_row);
  PendingFrame& out = add_frame(first);
  out.is_rest = true;
  out.draft.clear();
  return out;
}

// Rows of a draft below `base`, as whose other rows the tree's last ones came before.
void PendingTree::add_rows(uint32_t base, const Draft& draft, size_t begin, size_t end) {
  const auto first_guess = static_cast<int32_t>(rows_.size() - begin);
  const float above = rows_[base].probability;
  for (size_t i = begin; i < end; ++i) {
    PendingRow row;
    row.token = draft.tokens[i];
    row.parent = draft.parents[i] < 0 ? static_cast<int32_t>(base) : first_guess + draft.parents[i];
    row.position = rows_[static_cast<size_t>(row.parent)].position + 1;
    row.draft_row = static_cast<int32_t>(i);
    row.probability = draft.probabilities[i] * above;
    rows_.push_back(row);
  }
}

PendingFrame& PendingTree::add_frame(uint32_t first) {
  PendingFrame& out = frame(n_owed_++);
  out.first = first;
  out.n_row = out.n_sent = n_row() - first;
  out.n_text = 0;
  out.has_last_token = out.is_rest = out.was_rest = out.is_alone = false;
  out.head_ms = 0;
  return out;
}

void PendingTree::pop() {
  oldest_ = (oldest_ + 1) % kReplyWindow;
  --n_owed_;
}

int32_t PendingTree::child(uint32_t row, uint32_t token) const {
  for (uint32_t i = row + 1; i < rows_.size(); ++i) {
    if (rows_[i].parent == static_cast<int32_t>(row) && rows_[i].token == token) {
      return static_cast<int32_t>(i);
    }
  }
  return -1;
}

// Of siblings the likelier stands first.
uint32_t PendingTree::likeliest_leaf(uint32_t row) const {
  for (uint32_t i = row + 1; i < rows_.size(); ++i) {
    if (rows_[i].parent == static_cast<int32_t>(row)) row = i;
  }
  return row;
}

void PendingTree::go_on_from(uint32_t row) {
  moved_to_.assign(rows_.size(), -1);
  const float probability = std::max(rows_[row].probability, 1e-9F);
  uint32_t n_kept = 0;
  for (uint32_t i = row; i < rows_.size(); ++i) {
    const int32_t parent = rows_[i].parent;
    const int32_t moved_parent =
        i == row || parent < 0 ? -1 : moved_to_[static_cast<size_t>(parent)];
    if (i != row && moved_parent < 0) continue;
    moved_to_[i] = static_cast<int32_t>(n_kept);
    PendingRow& kept = rows_[n_kept++] = rows_[i];
    kept.parent = moved_parent;
    kept.probability = std::min(1.0F, kept.probability / probability);
  }
  for (uint32_t f = 0; f < n_owed_; ++f) {
    PendingFrame& at = frame(f);
    const uint32_t begin = at.first, end = at.first + at.n_row;
    at.n_row = 0;
    for (uint32_t i = begin; i < end; ++i) {
      if (moved_to_[i] < 0) continue;
      if (at.n_row++ == 0) at.first = static_cast<uint32_t>(moved_to_[i]);
    }
  }
  rows_.resize(n_kept);
  take_rest_of_draft();
}

// Where the walk came to the rest of a draft: it hangs from the text now, with its last token, like
// a frame that was sent so.
void PendingTree::take_rest_of_draft() {
  uint32_t f = 0;
  while (f < n_owed_ && frame(f).n_row == 0) ++f;
  if (f == n_owed_ || !frame(f).is_rest) return;
  PendingFrame& at = frame(f);
  at.is_rest = false;
  at.was_rest = at.has_last_token = true;
  at.n_text = size_t{rows_[0].position} + 1;
  at.draft.clear();
  rows_[0].draft_row = -1;
  uint32_t end = at.n_row;
  for (++f; f < n_owed_ && frame(f).is_rest; ++f) end += frame(f).n_row;
  for (uint32_t i = 1; i < end; ++i) {
    rows_[i].draft_row = at.draft.add(rows_[i].token, rows_[i].parent - 1, rows_[i].probability);
  }
}

void PendingTree::drop_rows() {
  rows_.clear();
  for (uint32_t f = 0; f < n_owed_; ++f) frame(f).n_row = 0;
}

void PendingTree::forget_dead() {
  uint32_t n = 0;
  for (uint32_t f = 0; f < n_owed_; ++f) {
    if (frame(f).n_row == 0) continue;
    if (n != f) std::swap(frame(n), frame(f));
    ++n;
  }
  n_owed_ = n;
}

}  // namespace splitd

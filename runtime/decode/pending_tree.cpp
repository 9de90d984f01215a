#include "runtime/decode/pending_tree.h"

#include <algorithm>
#include <utility>

namespace splitd {

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

PendingFrame& PendingTree::add(uint32_t last_token, uint32_t position, Draft& draft) {
  rows_.emplace_back();
  rows_.back().token = last_token;
  rows_.back().position = position;
  return add_rows(0, draft, 0);
}

PendingFrame& PendingTree::add_below(uint32_t base, Draft& draft) {
  return add_rows(base, draft, n_row());
}

PendingFrame& PendingTree::add_rows(uint32_t base, Draft& draft, uint32_t first) {
  const auto first_guess = static_cast<int32_t>(n_row());
  const PendingRow below = rows_[base];
  for (size_t i = 0; i < draft.size(); ++i) {
    PendingRow row;
    row.token = draft.tokens[i];
    row.parent = draft.parents[i] < 0 ? static_cast<int32_t>(base) : first_guess + draft.parents[i];
    row.position = rows_[static_cast<size_t>(row.parent)].position + 1;
    row.draft_row = static_cast<int32_t>(i);
    row.probability = draft.probabilities[i] * below.probability;
    rows_.push_back(row);
  }
  if (n_owed_ > 0) frame(n_owed_ - 1).is_alone = false;
  PendingFrame& out = frame(n_owed_++);
  out.first = first;
  out.n_row = out.n_sent = n_row() - first;
  out.n_text = size_t{below.position} + 1;
  out.has_last_token = first == 0;
  out.head_ms = 0;
  out.is_alone = n_owed_ == 1;
  std::swap(out.draft, draft);
  draft.clear();
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

// What the tail sees of a frame, and what drafters are shown of it.
#include <algorithm>
#include <chrono>

#include "runtime/decode/session.h"

namespace splitd {

using Clock = std::chrono::steady_clock;

std::span<float> Session::logits_of(const PendingRow& row) {
  return std::span(logits_).subspan(size_t{row.logits} * n_vocab(), n_vocab());
}

// Rows for the tail, to wave_: `row` and the likeliest path below it, as far as that is worth one
// batch; with the first wave what the drafter wants to see.
void Session::choose_wave(Task& task, uint32_t row) {
  const PendingFrame& frame = pending_.frame(0);
  wave_.assign(1, row);
  path_.assign(1, 1.0F);
  const float probability = std::max(pending_.row(row).probability, 1e-9F);
  for (uint32_t i = row + 1; i < frame.n_row; ++i) {
    if (pending_.row(i).parent != static_cast<int32_t>(wave_.back())) continue;
    wave_.push_back(i);
    path_.push_back(pending_.row(i).probability / probability);
  }
  if (const Controller* controller = task.options.controller) {
    wave_.resize(std::clamp<size_t>(controller->wave_rows(path_), 1, wave_.size()));
  }
  if (n_logits_ > 0) return;
  const size_t n_path = wave_.size();
  for (uint32_t i = 0; i < frame.n_row; ++i) {
    const int32_t draft_row = pending_.row(i).draft_row;
    if (draft_row < 0 || frame.draft.wanted[static_cast<size_t>(draft_row)] == 0) continue;
    // Up to an ancestor that is there; the first row always is.
    for (uint32_t at = i; std::find(wave_.begin(), wave_.end(), at) == wave_.end();
         at = static_cast<uint32_t>(pending_.row(at).parent)) {
      wave_.push_back(at);
    }
  }
  if (wave_.size() > n_path) std::sort(wave_.begin(), wave_.end());
}

// Sends a wave from `row` on through the tail as one batch, to logits.
Status Session::evaluate(Task& task, uint32_t row) {
  choose_wave(task, row);
  const Clock::time_point start = Clock::now();
  const size_t d = d_model(), n = wave_.size();
  rows_.resize(n * d);
  parents_.clear();
  for (size_t i = 0; i < n; ++i) {
    const PendingRow& at = pending_.row(wave_[i]);
    const auto from = std::lower_bound(reply_.ids.begin(), reply_.ids.end(), at.body_id);
    std::copy_n(reply_.rows.begin() + (from - reply_.ids.begin()) * static_cast<std::ptrdiff_t>(d),
                d, rows_.begin() + static_cast<std::ptrdiff_t>(i * d));
    const auto parent =
        std::lower_bound(wave_.begin(), wave_.end(), static_cast<uint32_t>(at.parent));
    parents_.push_back(i == 0 ? -1 : static_cast<int32_t>(parent - wave_.begin()));
  }
  const int32_t parent = pending_.row(row).parent;
  TimelineRequest request;
  request.append =
      Frame{.first = tail_.timeline().next_id(),
            .base = parent < 0 ? tail_.timeline().last_committed() : pending_.row(parent).tail_id,
            .n_row = static_cast<uint32_t>(n),
            .parents = parents_};
  SPLITD_TRY(tail_.run(request, rows_.data(), [this] { return go_on(); }));
  if (has_sketches_) {
    if (sketches_.size() < (n_logits_ + n) * kSketch) sketches_.resize((n_logits_ + n) * kSketch);
    for (size_t i = 0; i < n; ++i) {
      sketch_row(std::span(rows_).subspan(i * d, d),
                 std::span(sketches_).subspan((n_logits_ + i) * kSketch, kSketch));
    }
  }
  pipeline_.tail->norm(rows_, rows_.data());
  if (logits_.size() < (n_logits_ + n) * n_vocab()) logits_.resize((n_logits_ + n) * n_vocab());
  pipeline_.tail->project(rows_, logits_.data() + size_t{n_logits_} * n_vocab());
  if (Controller* const controller = task.options.controller) {
    const std::chrono::duration<double, std::milli> ms = Clock::now() - start;
    controller->observe_tail(static_cast<uint32_t>(n), ms.count());
  }
  for (size_t i = 0; i < n; ++i) {
    PendingRow& at = pending_.row(wave_[i]);
    at.tail_id = request.append->first + static_cast<RowId>(i);
    at.logits = n_logits_++;
    rank(at);
  }
  return {};
}

// The row's likeliest followers, before the sampler changes its logits.
void Session::rank(const PendingRow& row) {
  if (n_top_ > 0) rank(logits_of(row), size_t{row.logits} * n_top_);
}

// …to top_ from `at` on.
void Session::rank(std::span<const float> logits, size_t at) {
  probabilities_.assign(logits.begin(), logits.end());
  const kernels::RowKernels& kernels = pipeline_.table->rows;
  kernels.softmax(probabilities_.data(), probabilities_.size());
  if (top_.size() < at + n_top_) {
    top_.resize(at + n_top_);
    top_probability_.resize(at + n_top_);
  }
  kernels.top_k(probabilities_.data(), probabilities_.size(), n_top_, top_probability_.data() + at,
                top_.data() + at);
}

SeenRow Session::seen_row(const PendingRow& row) {
  SeenRow seen;
  seen.row = row.draft_row;
  seen.next = row.next;
  seen.top = std::span(top_).subspan(size_t{row.logits} * n_top_, n_top_);
  seen.top_probability = std::span(top_probability_).subspan(size_t{row.logits} * n_top_, n_top_);
  if (!has_sketches_) return seen;
  seen.sketch = std::span(sketches_).subspan(size_t{row.logits} * kSketch, kSketch);
  seen.before = row.parent < 0 ? std::span<const float>(base_sketch_)
                               : std::span(sketches_).subspan(
                                     size_t{pending_.row(row.parent).logits} * kSketch, kSketch);
  return seen;
}

// Shows the drafter what became of a frame whose base is text. Where the walk did not come, what
// follows is a guess: without the penalties of tokens on the way there.
void Session::show(Task& task, const PendingFrame& frame) {
  seen_.clear();
  if (!frame.has_last_token) seen_.push_back(base_);
  for (PendingRow& row : pending_.rows_of(frame)) {
    if (row.tail_id == kNoRow) continue;
    if (!row.is_reached) {
      const Result<uint32_t> next = task.sampler.sample(logits_of(row), uint64_t{row.position} + 1);
      if (!next) continue;
      row.next = *next;
    }
    seen_.push_back(seen_row(row));
  }
  const std::span<const uint32_t> text(text_);
  task.options.drafter->observe(
      {text.first(frame.n_text), &frame.draft, text.subspan(frame.n_text), seen_});
}

// The walk ended at `row` of the oldest frame and goes on at `child`, in another one, or at −1.
void Session::show_frames(Task& task, uint32_t row, int32_t child) {
  show(task, pending_.frame(0));
  // The row is what the next frame hangs from, if it was right.
  base_ = seen_row(pending_.row(row));
  base_.row = -1;
  base_top_.assign(base_.top.begin(), base_.top.end());
  base_top_probability_.assign(base_.top_probability.begin(), base_.top_probability.end());
  base_.top = base_top_;
  base_.top_probability = base_top_probability_;
  // It was shown as what it is; from now on it is what the next row follows.
  if (has_sketches_) base_sketch_.assign(base_.sketch.begin(), base_.sketch.end());
  base_.sketch = base_.before = {};
  if (child >= 0 || !task.more) return;
  for (uint32_t i = 1; i < pending_.n_owed(); ++i) {
    const PendingFrame& next = pending_.frame(i);
    if (next.n_row == 0 || next.is_rest) continue;  // a rest was shown with its draft
    if (pending_.row(next.first).parent == static_cast<int32_t>(row)) show(task, next);
    return;
  }
}

}  // namespace splitd

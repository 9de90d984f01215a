// What a session does while its frames are on their way: the drafter takes in what it put off, and
// is shown what the model thinks of the prompt's rows, which nobody needed for the text. Little
// pieces, and none that is expected to last until the reply.
#include <algorithm>
#include <chrono>

#include "runtime/decode/session.h"

namespace splitd {

using Clock = std::chrono::steady_clock;

static constexpr size_t kPiece = 4;  // projected at a time

// Keeps the last rows of a prompt, of which `hidden` are the next.
void Session::keep_prompt(std::span<const float> hidden) {
  const size_t most = kMostStudied * d_model();
  hidden = hidden.last(std::min(hidden.size(), most));
  const size_t n = prompt_hidden_.size() + hidden.size();
  if (n > most) {
    prompt_hidden_.erase(prompt_hidden_.begin(),
                         prompt_hidden_.begin() + static_cast<std::ptrdiff_t>(n - most));
  }
  prompt_hidden_.insert(prompt_hidden_.end(), hidden.begin(), hidden.end());
}

void Session::use_waiting(Task& task) {
  const Controller* const controller = task.options.controller;
  if (controller == nullptr || task.options.drafter == nullptr || n_top_ == 0) return;
  const std::chrono::duration<double, std::milli> spare(controller->spare_ms());
  if (spare.count() <= 0 || pending_.n_owed() == 0) return;
  const Clock::time_point until =
      pending_.frame(0).submitted + std::chrono::duration_cast<Clock::duration>(spare);
  while (go_on() && Clock::now() < until) {
    if (!task.options.drafter->work() && !study(task, until)) return;
  }
}

// Shows the drafter a few rows of the prompt, the last ones first. False: there are none, or there
// is no time.
bool Session::study(Task& task, Clock::time_point until) {
  const size_t d = d_model(), n_kept = prompt_hidden_.size() / d;
  const size_t n = std::min(kPiece, n_unstudied_);
  const std::chrono::duration<double, std::milli> ms(
      task.options.controller->tail_ms(static_cast<uint32_t>(n)));
  if (n == 0 || Clock::now() + std::chrono::duration_cast<Clock::duration>(ms) > until) {
    return false;
  }
  const size_t first = n_unstudied_ - n;
  n_unstudied_ = first;
  study_rows_.resize(kPiece * d);
  study_logits_.resize(kPiece * size_t{n_vocab()});
  study_sketches_.resize((kPiece + 1) * kSketch);
  const std::span<const float> hidden = std::span(prompt_hidden_).subspan(first * d, n * d);
  const std::span<float> normed = std::span(study_rows_).first(n * d);
  pipeline_.tail->norm(hidden, normed.data());
  pipeline_.tail->project(normed, study_logits_.data());
  const auto sketch = [&](size_t i) {
    return std::span(study_sketches_).subspan(i * kSketch, kSketch);
  };
  for (size_t i = first == 0 ? 1 : 0; has_sketches_ && i <= n; ++i) {
    sketch_row(std::span(prompt_hidden_).subspan((first + i - 1) * d, d), sketch(i));
  }
  const size_t first_position = task.out.n_prompt - n_kept + first;
  for (size_t i = 0; i < n; ++i) {
    rank(std::span(study_logits_).subspan(i * n_vocab(), n_vocab()), 0);
    SeenRow row;
    row.next = text_[first_position + i + 1];
    row.top = std::span(top_).first(n_top_);
    row.top_probability = std::span(top_probability_).first(n_top_);
    if (has_sketches_) row.sketch = sketch(i + 1);
    if (has_sketches_ && first + i > 0) row.before = sketch(i);
    task.options.drafter->study(std::span(text_).first(first_position + i + 1), row);
  }
  return true;
}

}  // namespace splitd

// The verify loop. The last token and a draft under it go through the model together; then the walk
// samples at each row and follows the draft as long as the sampled token is in it. What is sampled
// depends on the row's logits, the seed and the position alone, so the text is that of one token at
// a time, whatever was drafted.
#include <algorithm>
#include <string>

#include "runtime/decode/session.h"

namespace splitd {

using Edit = TimelineRequest::Edit;

// Sends the last token's row with the draft below it, and what the step before kept.
Status Session::send_step(uint32_t last_token, const Draft& draft) {
  const auto n = static_cast<uint32_t>(draft.tokens.size() + 1);
  frame_.clear();
  parents_.clear();
  ids_.clear();
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t parent = i == 0 ? -1 : draft.parents[i - 1] + 1;
    frame_.push_back({i == 0 ? last_token : draft.tokens[i - 1], parent, kNoRow, 0, 0, false});
    parents_.push_back(parent);
    ids_.push_back(frame_.back().token);
  }
  n_logits_ = 0;

  SPLITD_TRY(embed(ids_));
  TimelineRequest request;
  frame_head_id_ = head_.timeline().next_id();
  request.append = Frame{.first = frame_head_id_,
                         .base = head_.timeline().last_committed(),
                         .n_row = n,
                         .parents = parents_};
  SPLITD_TRY(head_.run(request, rows_.data(), [this] { return go_on(); }));
  for (int i = 0;; ++i) {
    frame_body_id_ = next_body_id_;
    request.append->first = frame_body_id_;
    request.append->base = body_ids_.back();
    request.edit = keep_due_ ? Edit::keep : Edit::none;
    request.keep = keep_due_ ? body_ids_.back() : kNoRow;
    SPLITD_TRY(send(request, rows_));
    keep_due_ = false;
    Status status = receive();
    if (status.ok()) break;
    if (!is_lost(status.error()) || i == kMostRecoveries) return status;
    SPLITD_TRY(recover());
  }
  mark_done(body_ids_.size());
  if (reply_.ids.size() != n || reply_.rows.size() != rows_.size()) {
    return peer_error("the body answered " + std::to_string(reply_.ids.size()) + " rows of " +
                      std::to_string(n));
  }
  return {};
}

// A draft comes from outside the loop: what breaks its contract is not sent.
Status Session::check_draft(const Drafter& drafter) const {
  const size_t n = draft_.size();
  const std::string who = "drafter " + std::string(drafter.name()) + ": ";
  if (draft_.parents.size() != n || draft_.probabilities.size() != n || draft_.wanted.size() != n) {
    return failed(who + std::to_string(n) + " tokens, " + std::to_string(draft_.parents.size()) +
                  " parents, " + std::to_string(draft_.probabilities.size()) + " probabilities, " +
                  std::to_string(draft_.wanted.size()) + " wanted");
  }
  for (size_t i = 0; i < n; ++i) {
    const int32_t parent = draft_.parents[i];
    if (parent < -1 || parent >= static_cast<int64_t>(i)) {
      return failed(who + "row " + std::to_string(i) + " has parent " + std::to_string(parent));
    }
    if (draft_.tokens[i] >= n_vocab()) {
      return failed(who + "row " + std::to_string(i) + " is token " +
                    std::to_string(draft_.tokens[i]) + "; the vocabulary has " +
                    std::to_string(n_vocab()));
    }
    const float probability = draft_.probabilities[i];
    if (!(probability >= 0 && probability <= 1)) {
      return failed(who + "row " + std::to_string(i) + " has probability " +
                    std::to_string(probability));
    }
  }
  return {};
}

// Rows for the tail, to wave_: `row` and the likeliest path below it; with the first wave what the
// drafter wants to see.
void Session::choose_wave(uint32_t row) {
  wave_.assign(1, row);
  int32_t leaf = static_cast<int32_t>(row);
  // Children stand behind their parents, siblings with the likelier first.
  for (uint32_t i = row + 1; i < frame_.size(); ++i) {
    if (frame_[i].parent != leaf) continue;
    wave_.push_back(i);
    leaf = static_cast<int32_t>(i);
  }
  if (row != 0) return;
  const size_t n_path = wave_.size();
  for (size_t i = 0; i < draft_.size(); ++i) {
    if (draft_.wanted[i] == 0) continue;
    for (auto at = static_cast<int32_t>(i + 1);
         std::find(wave_.begin(), wave_.end(), static_cast<uint32_t>(at)) == wave_.end();
         at = frame_[static_cast<size_t>(at)].parent) {
      wave_.push_back(static_cast<uint32_t>(at));
    }
  }
  if (wave_.size() > n_path) std::sort(wave_.begin(), wave_.end());
}

// Sends a wave from `row` on through the tail as one batch, to logits.
Status Session::evaluate(uint32_t row) {
  choose_wave(row);
  const size_t d = d_model(), n = wave_.size();
  rows_.resize(n * d);
  parents_.clear();
  for (size_t i = 0; i < n; ++i) {
    std::copy_n(reply_.rows.begin() + static_cast<std::ptrdiff_t>(wave_[i] * d), d,
                rows_.begin() + static_cast<std::ptrdiff_t>(i * d));
    const auto parent =
        std::lower_bound(wave_.begin(), wave_.begin() + static_cast<std::ptrdiff_t>(i),
                         static_cast<uint32_t>(frame_[wave_[i]].parent));
    parents_.push_back(i == 0 ? -1 : static_cast<int32_t>(parent - wave_.begin()));
  }
  const int32_t parent = frame_[row].parent;
  TimelineRequest request;
  request.append = Frame{.first = tail_.timeline().next_id(),
                         .base = parent < 0 ? tail_.timeline().last_committed()
                                            : frame_[static_cast<size_t>(parent)].tail_id,
                         .n_row = static_cast<uint32_t>(n),
                         .parents = parents_};
  SPLITD_TRY(tail_.run(request, rows_.data(), [this] { return go_on(); }));
  pipeline_.tail->norm(rows_, rows_.data());
  if (logits_.size() < (n_logits_ + n) * n_vocab()) logits_.resize((n_logits_ + n) * n_vocab());
  pipeline_.tail->project(rows_, logits_.data() + size_t{n_logits_} * n_vocab());
  for (size_t i = 0; i < n; ++i) {
    frame_[wave_[i]].tail_id = request.append->first + static_cast<RowId>(i);
    frame_[wave_[i]].logits = n_logits_++;
    rank(wave_[i]);
  }
  return {};
}

std::span<float> Session::logits_of(const Row& row) {
  return std::span(logits_).subspan(size_t{row.logits} * n_vocab(), n_vocab());
}

// The row's likeliest followers, before the sampler changes its logits.
void Session::rank(uint32_t row) {
  if (n_top_ == 0) return;
  const std::span<const float> logits = logits_of(frame_[row]);
  probabilities_.assign(logits.begin(), logits.end());
  const kernels::RowKernels& kernels = pipeline_.table->rows;
  kernels.softmax(probabilities_.data(), probabilities_.size());
  const size_t at = size_t{frame_[row].logits} * n_top_;
  if (top_.size() < at + n_top_) {
    top_.resize(at + n_top_);
    top_probability_.resize(at + n_top_);
  }
  kernels.top_k(probabilities_.data(), probabilities_.size(), n_top_, top_probability_.data() + at,
                top_.data() + at);
}

// Shows the drafter what became of its draft. Where the walk did not come, what follows is a guess:
// without the penalties of tokens on the way there.
void Session::show(Drafter& drafter, Sampler& sampler, std::span<const uint32_t> text,
                   std::span<const uint32_t> accepted) {
  seen_.clear();
  for (uint32_t i = 0; i < frame_.size(); ++i) {
    Row& row = frame_[i];
    if (row.tail_id == kNoRow) continue;
    if (!row.reached) {
      uint64_t position = text.size();
      for (int32_t at = row.parent; at >= 0; at = frame_[static_cast<size_t>(at)].parent)
        ++position;
      const Result<uint32_t> next = sampler.sample(logits_of(row), position);
      if (!next) continue;
      row.next = *next;
    }
    SeenRow seen;
    seen.row = static_cast<int32_t>(i) - 1;
    seen.next = row.next;
    if (n_top_ != 0) {
      seen.top = std::span(top_).subspan(size_t{row.logits} * n_top_, n_top_);
      seen.top_probability =
          std::span(top_probability_).subspan(size_t{row.logits} * n_top_, n_top_);
    }
    seen_.push_back(seen);
  }
  drafter.observe({text, &draft_, accepted, seen_});
}

// The walk ended at `row`: its path becomes text. The body is told with the next request.
Status Session::keep_row(uint32_t row) {
  TimelineRequest request;
  request.edit = Edit::keep;
  const auto never_stop = [] { return true; };
  request.keep = frame_head_id_ + row;
  SPLITD_TRY(head_.run(request, nullptr, never_stop));
  request.keep = frame_[row].tail_id;
  SPLITD_TRY(tail_.run(request, nullptr, never_stop));
  const size_t first = tokens_.size();
  for (auto at = static_cast<int32_t>(row); at >= 0; at = frame_[static_cast<size_t>(at)].parent) {
    tokens_.push_back(frame_[static_cast<size_t>(at)].token);
    body_ids_.push_back(frame_body_id_ + static_cast<RowId>(at));
  }
  std::reverse(tokens_.begin() + static_cast<std::ptrdiff_t>(first), tokens_.end());
  std::reverse(body_ids_.begin() + static_cast<std::ptrdiff_t>(first), body_ids_.end());
  high_ = std::max(high_, static_cast<uint32_t>(tokens_.size() + frame_.size()));
  keep_due_ = true;
  return {};
}

Status Session::decode(Generated& out, const GenerateOptions& options, Sampler& sampler,
                       const std::function<bool(uint32_t)>& on_token) {
  // Takes a token into the text; false ends it.
  const auto accept = [&](uint32_t token) {
    out.tokens.push_back(token);
    sampler.push(token, true);
    const bool wanted = on_token(token);
    const auto& stops = options.stop_ids;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      out.reason = FinishReason::stop;
      return false;
    }
    if (!wanted) out.reason = FinishReason::callback;
    return wanted && out.tokens.size() < options.max_tokens;
  };

  if (options.max_tokens == 0) return {};
  out.tokens.reserve(std::min<size_t>(options.max_tokens, shape_.n_ctx + 1));
  SPLITD_ASSIGN(uint32_t token,
                sampler.sample(std::span(logits_).first(n_vocab()), tokens_.size()));
  bool more = accept(token);
  Drafter* const drafter = options.drafter;
  std::vector<uint32_t> text(tokens_);
  text.reserve(shape_.n_ctx + 1);
  if (drafter != nullptr) {
    n_top_ = std::min(drafter->n_top(), n_vocab());
    drafter->begin(text);
  }
  while (more && tokens_.size() < shape_.n_ctx) {
    if (!go_on()) return Error{ErrorKind::interrupted, "interrupted"};
    // Rows below the one kept last stay pending until the next is kept: they take the other half.
    const size_t room =
        std::min<size_t>({std::max(1u, shape_.max_pending / 2), shape_.n_ctx - tokens_.size(),
                          options.max_tokens - out.tokens.size()});
    draft_.clear();
    if (drafter != nullptr) {
      text.assign(tokens_.begin(), tokens_.end());
      text.push_back(token);
      const auto budget = static_cast<uint32_t>(room - 1);
      if (budget > 0) {
        SPLITD_TRY(drafter->propose({text, text.size(), budget, text.size()}, draft_));
        SPLITD_TRY(check_draft(*drafter));
        draft_.cut(budget);
      }
    }
    SPLITD_TRY(send_step(token, draft_));
    out.n_step += 1;
    out.n_row += frame_.size();

    uint32_t row = 0;
    const size_t n_before = out.tokens.size();
    while (true) {
      if (frame_[row].tail_id == kNoRow) SPLITD_TRY(evaluate(row));
      SPLITD_ASSIGN(token, sampler.sample(logits_of(frame_[row]),
                                          tokens_.size() + 1 + out.tokens.size() - n_before));
      frame_[row].next = token;
      frame_[row].reached = true;
      more = accept(token);
      if (!more) break;
      uint32_t child = row + 1;
      while (child < frame_.size() &&
             (frame_[child].parent != static_cast<int32_t>(row) || frame_[child].token != token)) {
        ++child;
      }
      if (child == frame_.size()) break;
      row = child;
    }
    if (drafter != nullptr) {
      show(*drafter, sampler, text, std::span(out.tokens).subspan(n_before));
    }
    SPLITD_TRY(keep_row(row));
  }
  if (!keep_due_) return {};
  // Nobody waits for this one: its reply is taken when the next text begins.
  TimelineRequest request;
  request.edit = Edit::keep;
  request.keep = body_ids_.back();
  keep_due_ = false;
  return send(request, {});
}

}  // namespace splitd

// The verify loop. The last token and a draft under it go through the model together; then the walk
// samples at each row and follows the draft as long as the sampled token is in it. What is sampled
// depends on the row's logits, the seed and the position alone, so the text is that of one token at
// a time, whatever was drafted. While a frame is in flight, others may follow it below its
// likeliest leaf; the walk goes on in them, or they die.
#include <algorithm>
#include <chrono>
#include <string>

#include "runtime/decode/session.h"

namespace splitd {

using Edit = TimelineRequest::Edit;
using Clock = std::chrono::steady_clock;

static double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Takes a token into the text; false ends it.
bool Session::Task::accept(uint32_t token) {
  out.tokens.push_back(token);
  sampler.push(token, true);
  more = on_token(token);
  if (!more) out.reason = FinishReason::callback;
  const auto& stops = options.stop_ids;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    out.reason = FinishReason::stop;
    more = false;
  }
  more = more && out.tokens.size() < options.max_tokens;
  return more;
}

Status Session::decode(Task& task) {
  const GenerateOptions& options = task.options;
  if (options.max_tokens == 0) return {};
  task.out.tokens.reserve(std::min<size_t>(options.max_tokens, shape_.n_ctx + 1));
  text_.reserve(size_t{shape_.n_ctx} + 1);
  text_.assign(tokens_.begin(), tokens_.end());
  // The row of the last token but one brings the last.
  const uint64_t end = tokens_.size() + uint64_t{options.max_tokens} - 1;
  end_position_ = static_cast<uint32_t>(std::min<uint64_t>(shape_.n_ctx, end));
  pending_.clear();
  pending_.reserve(shape_.max_pending);
  n_top_ = 0;
  n_unstudied_ = prompt_hidden_.size() / d_model();
  if (options.drafter != nullptr) {
    n_top_ = std::min(options.drafter->n_top(), n_vocab());
    has_sketches_ = options.drafter->use(token_sketches_);
    options.drafter->begin(text_);
    base_sketch_.resize(has_sketches_ ? kSketch : 0);
    if (has_sketches_) sketch_row(std::span(rows_).last(d_model()), base_sketch_);
  }
  SPLITD_ASSIGN(const uint32_t token,
                task.sampler.sample(std::span(logits_).first(n_vocab()), tokens_.size()));
  text_.push_back(token);
  task.accept(token);
  while (task.more && tokens_.size() < shape_.n_ctx) {
    SPLITD_TRY(fill(task));
    use_waiting(task);
    SPLITD_TRY(take_reply(task));
    SPLITD_TRY(walk(task));
  }
  return finish();
}

// ---- Drafts

// A guess of what follows the text and, where the tree has rows, the path down to `base` in it.
Status Session::draft(Task& task, uint32_t base, uint32_t most) {
  draft_.clear();
  const size_t n_certain = text_.size();
  if (!pending_.empty()) {
    text_.resize(size_t{pending_.row(base).position} + 1);
    for (uint32_t at = base; at != 0; at = static_cast<uint32_t>(pending_.row(at).parent)) {
      text_[pending_.row(at).position] = pending_.row(at).token;
    }
  }
  const auto position = static_cast<uint32_t>(text_.size());
  DraftRequest request{.text = text_, .n_certain = n_certain, .position = position};
  request.cancelled = &cancelled_;
  request.before = base_sketch_;
  if (const Controller* controller = task.options.controller) {
    most = std::min(most, controller->budget());
    request.most_ms = controller->guess_ms();
  }
  Status status;
  if (position < end_position_ && most > 0) {
    const Clock::time_point start = Clock::now();
    request.budget = most;
    status = task.options.drafter->propose(request, draft_);
    task.out.draft_ms += ms_since(start);
  }
  text_.resize(n_certain);
  if (!status.ok()) {
    if (status.error().kind == ErrorKind::interrupted) return status;
    return status.take_error().within("drafter " + std::string(task.options.drafter->name()));
  }
  SPLITD_TRY(check_draft(*task.options.drafter));
  draft_.cut(most);
  trim_draft(position);
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
    const float probability = draft_.probabilities[i];
    const std::string row = "row " + std::to_string(i);
    if (parent < -1 || parent >= static_cast<int64_t>(i)) {
      return failed(who + row + " has parent " + std::to_string(parent));
    }
    if (draft_.tokens[i] >= n_vocab()) {
      return failed(who + row + " is token " + std::to_string(draft_.tokens[i]) +
                    "; the vocabulary has " + std::to_string(n_vocab()));
    }
    if (!(probability >= 0 && probability <= 1)) {
      return failed(who + row + " has probability " + std::to_string(probability));
    }
  }
  return {};
}

// Drops what is too deep to bring a token; the first row stands at `position`.
void Session::trim_draft(uint32_t position) {
  const uint32_t most_depth = end_position_ - std::min(position, end_position_);
  depths_.clear();
  bool fits = true;
  for (size_t i = 0; i < draft_.size(); ++i) {
    const int32_t parent = draft_.parents[i];
    depths_.push_back(parent < 0 ? 1 : depths_[static_cast<size_t>(parent)] + 1);
    fits = fits && depths_.back() <= most_depth;
  }
  if (fits) return;
  parents_.clear();  // where rows moved to
  uint32_t n = 0;
  for (size_t i = 0; i < draft_.size(); ++i) {
    parents_.push_back(depths_[i] <= most_depth ? static_cast<int32_t>(n) : -1);
    if (depths_[i] > most_depth) continue;
    const int32_t parent = draft_.parents[i];
    draft_.tokens[n] = draft_.tokens[i];
    draft_.parents[n] = parent < 0 ? -1 : parents_[static_cast<size_t>(parent)];
    draft_.probabilities[n] = draft_.probabilities[i];
    draft_.wanted[n++] = draft_.wanted[i];
  }
  draft_.cut(n);
}

// ---- Sending

// Whatever is worth being in flight: the last token with a draft, and frames below the likeliest
// leaf of those before.
Status Session::fill(Task& task) {
  if (!go_on()) return Error{ErrorKind::interrupted, "interrupted"};
  if (pending_.empty()) SPLITD_TRY(send_first(task));
  const uint32_t most =
      task.options.controller != nullptr ? kReplyWindow : task.options.most_frames;
  while (pending_.n_owed() < std::min(most, pipeline_.most_frames)) {
    SPLITD_ASSIGN(const bool sent, send_below_leaf(task));
    if (!sent) break;
  }
  task.out.most_frames = std::max(task.out.most_frames, pending_.n_live());
  return {};
}

Status Session::send_first(Task& task) {
  Clock::time_point start = Clock::now();
  draft_.clear();
  DraftParts parts;
  if (task.options.drafter != nullptr) {
    SPLITD_TRY(draft(task, 0, most_drafted(task)));
    parts = choose_parts(task);
  }
  draft_.cut(parts.n_row());
  const auto position = static_cast<uint32_t>(text_.size() - 1);
  SPLITD_TRY(send_frame(task, pending_.add(text_.back(), position, draft_, parts.end[0]), start));
  for (uint32_t i = 1; i < parts.n_part; ++i) {
    start = Clock::now();
    PendingFrame& rest = pending_.add_rest(parts.end[i] - parts.end[i - 1]);
    SPLITD_TRY(send_frame(task, rest, start));
  }
  return {};
}

// Rows that may be drafted below the text's end: of one frame, or of all that a draft may be sent
// in.
uint32_t Session::most_drafted(const Task& task) const {
  const uint32_t frame = std::min(pipeline_.max_rows, shape_.max_pending);
  const Controller* const controller = task.options.controller;
  if (controller == nullptr || !is_far()) return frame - 1;
  return std::min(shape_.max_pending, frame * DraftParts::kMost) - 1;
}

// How the draft is sent.
DraftParts Session::choose_parts(const Task& task) const {
  // What somebody wants to see beside the text is seen with the first frame.
  const bool one = std::any_of(draft_.wanted.begin(), draft_.wanted.end(),
                               [](uint8_t wanted) { return wanted != 0; });
  const uint32_t most_frames = pipeline_.most_frames;
  const uint32_t room = one ? 1 : most_frames - std::min(most_frames, pending_.n_owed());
  if (Controller* const controller = task.options.controller) {
    return controller->parts_worth(draft_, room);
  }
  const auto n_row = static_cast<uint32_t>(draft_.size());
  return DraftParts::even(n_row,
                          std::min({task.options.most_parts, task.options.most_frames, room}));
}

// False: there is no room, or nothing that is worth it.
Result<bool> Session::send_below_leaf(Task& task) {
  const uint32_t room = std::min(pipeline_.max_rows, shape_.max_pending - pending_.n_row());
  if (task.options.drafter == nullptr || room == 0) return false;
  const Clock::time_point start = Clock::now();
  const uint32_t leaf = pending_.likeliest_leaf(0);
  const Controller* const controller = task.options.controller;
  const InFlight flight{.n_frame = pending_.n_owed(),
                        .n_row = pending_.n_row(),
                        .probability = static_cast<double>(pending_.row(leaf).probability)};
  if (controller != nullptr && !controller->may_be_worth_below(flight)) return false;
  SPLITD_TRY(draft(task, leaf, room));
  if (controller != nullptr) draft_.cut(controller->rows_worth_below(flight, draft_));
  if (draft_.size() == 0) return false;
  SPLITD_TRY(send_frame(task, pending_.add_below(leaf, draft_), start));
  return true;
}

// Below what the frame's rows hang, to parents_; the base. Ids ascend, so the last one can be it.
RowId Session::hang(const PendingFrame& frame, RowId PendingRow::*id, RowId text_end) {
  const std::span<PendingRow> rows = pending_.rows_of(frame);
  const auto first = static_cast<int32_t>(frame.first);
  const auto above = [&](const PendingRow& row) {
    return row.parent < 0 ? text_end : pending_.row(row.parent).*id;
  };
  RowId base = 0;
  for (const PendingRow& row : rows) {
    if (row.parent < first) base = std::max(base, above(row));
  }
  parents_.clear();
  for (const PendingRow& row : rows) {
    parents_.push_back(row.parent < first ? -1 - static_cast<int32_t>(base - above(row))
                                          : row.parent - first);
  }
  return base;
}

// Runs the frame's rows through the head and hands them to the body, with what it is to keep.
Status Session::send_frame(Task& task, PendingFrame& frame, Clock::time_point start) {
  const std::span<PendingRow> rows = pending_.rows_of(frame);
  ids_.clear();
  for (const PendingRow& row : rows) ids_.push_back(row.token);
  SPLITD_TRY(embed(ids_));
  const RowId text_end = keep_.is_due ? keep_.head_id : head_.timeline().last_committed();
  TimelineRequest request;
  request.edit = keep_.is_due ? Edit::keep : Edit::none;
  request.keep = keep_.head_id;
  request.alone = keep_.alone;
  request.append = Frame{.first = head_.timeline().next_id(),
                         .base = hang(frame, &PendingRow::head_id, text_end),
                         .n_row = frame.n_row,
                         .parents = parents_};
  SPLITD_TRY(head_.run(request, rows_.data(), [this] { return go_on(); }));
  for (uint32_t i = 0; i < frame.n_row; ++i) rows[i].head_id = request.append->first + i;

  request.keep = keep_.is_root ? pending_.row(0).body_id : body_ids_.back();
  request.append->first = next_body_id_;
  request.append->base = hang(frame, &PendingRow::body_id, body_ids_.back());
  request.append->parents = parents_;
  for (uint32_t i = 0; i < frame.n_row; ++i) rows[i].body_id = next_body_id_ + i;
  frame.head_ms = ms_since(start);
  frame.submitted = Clock::now();
  SPLITD_TRY(send(request, rows_));
  keep_ = {};
  mark_done(tokens_.size());
  high_ = std::max(high_, static_cast<uint32_t>(tokens_.size()) + pending_.n_row());
  task.out.n_vain_frame += 1;  // until the walk comes to it
  task.out.n_rest_frame += frame.is_rest ? 1 : 0;
  task.out.n_row += frame.n_row;
  return {};
}

// ---- Walking

// Waits for the oldest frame that is still alive, to reply_. When the body has forgotten the
// session, another one gets the frames again.
Status Session::take_reply(Task& task) {
  for (int n_lost = 0;;) {
    Status status = receive();
    if (!status.ok()) {
      if (!is_lost(status.error()) || ++n_lost > kMostRecoveries) return status;
      SPLITD_TRY(recover());
      continue;
    }
    if (pending_.frame(0).n_row > 0) break;
    pending_.pop();
    dead_reply_ = Clock::now();
  }
  const PendingFrame& frame = pending_.frame(0);
  for (const PendingRow& row : pending_.rows_of(frame)) {
    if (std::binary_search(reply_.ids.begin(), reply_.ids.end(), row.body_id)) continue;
    return peer_error("the body answered without row " + std::to_string(row.body_id));
  }
  if (reply_.rows.size() != reply_.ids.size() * d_model()) {
    return peer_error("the body answered " + std::to_string(reply_.ids.size()) + " rows with " +
                      std::to_string(reply_.rows.size()) + " values");
  }
  if (Controller* const controller = task.options.controller) {
    controller->observe({.n_row = frame.n_sent,
                         .head_ms = frame.head_ms,
                         .wait_ms = ms_since(frame.submitted),
                         .body_ms = reply_.body_ms,
                         .alone = frame.is_alone && ms_since(dead_reply_) > reply_.body_ms + 1,
                         .bytes_up = reply_.bytes_up,
                         .bytes_down = reply_.bytes_down});
  }
  return {};
}

// Follows the text through the frame that came back.
Status Session::walk(Task& task) {
  PendingFrame& frame = pending_.frame(0);
  task.out.n_vain_frame -= 1;
  task.out.n_step += frame.was_rest ? 0 : 1;
  n_logits_ = 0;
  uint32_t at = 0;
  int32_t child = -1;
  while (true) {
    if (pending_.row(at).tail_id == kNoRow) SPLITD_TRY(evaluate(task, at));
    PendingRow& row = pending_.row(at);
    SPLITD_ASSIGN(row.next, task.sampler.sample(logits_of(row), uint64_t{row.position} + 1));
    row.is_reached = true;
    text_.push_back(row.next);
    child = task.accept(row.next) ? pending_.child(at, row.next) : -1;
    if (child < 0 || static_cast<uint32_t>(child) >= frame.n_row) break;
    at = static_cast<uint32_t>(child);
  }
  if (task.options.drafter != nullptr) show_frames(task, at, child);
  SPLITD_TRY(keep_path(at, child));
  if (child >= 0) {
    pending_.go_on_from(static_cast<uint32_t>(child));
  } else {
    pending_.drop_rows();
  }
  pending_.pop();
  return {};
}

// The path to `row` is text now. The tail keeps it at once; head and body are told with the next
// frame, and of `child` too, where the walk will go on.
Status Session::keep_path(uint32_t row, int32_t child) {
  TimelineRequest request;
  request.edit = Edit::keep;
  request.keep = pending_.row(row).tail_id;
  request.alone = true;
  SPLITD_TRY(tail_.run(request, nullptr, [] { return true; }));
  const size_t first = tokens_.size();
  for (auto at = static_cast<int32_t>(row); at >= 0; at = pending_.row(at).parent) {
    tokens_.push_back(pending_.row(at).token);
    body_ids_.push_back(pending_.row(at).body_id);
  }
  std::reverse(tokens_.begin() + static_cast<std::ptrdiff_t>(first), tokens_.end());
  std::reverse(body_ids_.begin() + static_cast<std::ptrdiff_t>(first), body_ids_.end());
  keep_.is_due = true;
  keep_.is_root = child >= 0;
  keep_.head_id = pending_.row(child >= 0 ? static_cast<uint32_t>(child) : row).head_id;
  // Without other rows than the path's there is nothing below it.
  keep_.alone = child < 0 && pending_.n_row() > tokens_.size() - first;
  return {};
}

// The text is over. Nobody waits for this request: its reply is taken when the next text begins,
// and those of frames that are still in flight.
Status Session::finish() {
  pending_.clear();
  if (!keep_.is_due) return {};
  TimelineRequest request;
  request.edit = Edit::keep;
  request.keep = keep_.head_id;
  request.alone = keep_.alone;
  SPLITD_TRY(head_.run(request, nullptr, [] { return true; }));
  request.keep = body_ids_.back();
  keep_ = {};
  return send(request, {});
}

}  // namespace splitd

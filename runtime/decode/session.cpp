// Prompts, cancelling and the state that head, body and tail share. The verify loop is in
// session_decode.cpp.
#include "runtime/decode/session.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "kernels/select.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/not_finite.h"

namespace splitd {

using Edit = TimelineRequest::Edit;
using Clock = std::chrono::steady_clock;

// How often a wait for the body looks whether it was cancelled.
static constexpr std::chrono::milliseconds kLook{50};

static Error interrupted() {
  return {ErrorKind::interrupted, "interrupted"};
}

static double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Session::Session(const Pipeline& pipeline, const KvShape& shape, LayerRun head, LayerRun tail)
    : pipeline_(pipeline),
      shape_(shape),
      head_(std::move(head)),
      tail_(std::move(tail)),
      token_sketches_(*pipeline.head) {
  if (pipeline_.table == nullptr) pipeline_.table = kernels::runnable_tables().back();
  for (const LayerConfig& layer : pipeline.head->config().layers) {
    has_window_ = has_window_ || layer.window != 0;
  }
  tokens_.reserve(shape.n_ctx);
  body_ids_.reserve(shape.n_ctx);
}

Result<std::unique_ptr<Session>> Session::open(const Pipeline& pipeline, const KvShape& shape) {
  // The body first: it reserves the most memory, and says so before anything here has grown.
  SPLITD_ASSIGN(const SessionId body, pipeline.body->open(shape));
  Result<LayerRun> head = LayerRun::open(*pipeline.head, pipeline.head_layers, shape);
  Result<LayerRun> tail = LayerRun::open(*pipeline.tail, pipeline.tail_layers, shape);
  if (!head || !tail) {
    pipeline.body->close(body);
    return head ? tail.take_error() : head.take_error();
  }
  auto session =
      std::unique_ptr<Session>(new Session(pipeline, shape, std::move(*head), std::move(*tail)));
  session->body_ = body;
  session->takes_bulk_ = pipeline.body->takes_bulk() && pipeline.max_rows >= kBulkRows;
  return session;
}

Session::~Session() {
  pipeline_.body->close(body_);
}

Status Session::check_prompt(std::span<const uint32_t> prompt) const {
  if (prompt.empty()) return usage_error("the prompt is empty: at least one token is needed");
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] >= n_vocab()) {
      return usage_error("token " + std::to_string(i) + " of the prompt is " +
                         std::to_string(prompt[i]) + "; the vocabulary has " +
                         std::to_string(n_vocab()));
    }
  }
  if (prompt.size() > shape_.n_ctx) {
    return usage_error("the prompt has " + std::to_string(prompt.size()) +
                       " tokens; the context has room for " + std::to_string(shape_.n_ctx));
  }
  return {};
}

uint32_t Session::chunk_rows() const {
  const uint32_t most = pipeline_.head->max_rows();
  return pipeline_.chunk_rows == 0 ? most : std::min(most, pipeline_.chunk_rows);
}

// Whether a bulk chunk begins there.
bool Session::is_bulk(size_t position) const {
  return std::binary_search(bulk_.begin(), bulk_.end(), position);
}

// A chunk of at most n rows ends where bulk chunks may begin.
uint32_t Session::cut_chunk(size_t position, size_t n) const {
  const size_t most = takes_bulk_ ? kBulkRows - position % kBulkRows : n;
  return static_cast<uint32_t>(std::min(n, most));
}

// Of n rows from a position on.
uint32_t Session::count_unread(size_t position, uint32_t n) const {
  return static_cast<uint32_t>(std::min<size_t>(n, first_read_ - std::min(first_read_, position)));
}

void Session::cancel() {
  const std::lock_guard lock(submitting_);
  if (!running_ || cancelled_) return;
  cancelled_ = true;
  if (acked_ == seq_) return;  // nothing is being computed there
  TimelineRequest request;
  request.edit = Edit::rewind;
  request.rewind = n_done_;
  if (pipeline_.body->submit(body_, {seq_ + 1, acked_, request}).ok()) ++seq_;
}

Status Session::send(const TimelineRequest& request, std::span<const float> rows) {
  const std::lock_guard lock(submitting_);
  if (cancelled_) return interrupted();
  SPLITD_TRY(pipeline_.body->submit(body_, {seq_ + 1, acked_, request, rows}));
  ++seq_;
  if (request.append) next_body_id_ += request.append->n_row;
  return {};
}

Status Session::receive() {
  while (true) {
    Status status = pipeline_.body->next(body_, Clock::now() + kLook, reply_);
    if (status.ok()) break;
    if (!is_no_reply_yet(status.error())) return status;
    if (!go_on()) return interrupted();
  }
  {
    const std::lock_guard lock(submitting_);
    acked_ = reply_.seq;
  }
  if (!go_on()) return interrupted();
  if (!reply_.error) return {};
  refused_ = true;
  return std::move(*reply_.error);
}

// The next reply; when the body has forgotten the session, that of another one.
Status Session::receive_or_recover() {
  for (int i = 0;; ++i) {
    Status status = receive();
    if (status.ok() || !is_lost(status.error()) || i == kMostRecoveries) return status;
    SPLITD_TRY(recover());
    if (!in_flight()) return {};
  }
}

// Body and ends hold the rows of tokens_ up to here, all complete.
void Session::mark_done(size_t n_token) {
  const std::lock_guard lock(submitting_);
  n_done_ = static_cast<uint32_t>(n_token);
}

bool Session::in_flight() {
  const std::lock_guard lock(submitting_);
  return acked_ != seq_;
}

// After something failed: what is in flight is let go, and all three agree again on the rows that
// were done. A body that refused a request counts rows otherwise than we do: it starts over.
Status Session::settle() {
  chunks_.clear();
  pending_.clear();
  while (in_flight()) {
    Status status = receive();
    if (!status.ok() && !refused_) return status;
  }
  if (refused_) SPLITD_TRY(reopen());
  SPLITD_TRY(rewind_all(n_done_));
  broken_ = false;
  return {};
}

// A new session of the body, which knows no rows yet.
Status Session::reopen() {
  SessionId before = 0;
  {
    const std::lock_guard lock(submitting_);
    before = body_;
    seq_ = acked_ = n_done_ = 0;
  }
  pipeline_.body->close(before);
  SPLITD_ASSIGN(const SessionId opened, pipeline_.body->open(shape_));
  const std::lock_guard lock(submitting_);
  body_ = opened;
  next_body_id_ = 0;
  refused_ = rewind_due_ = false;
  return {};
}

// The body has forgotten the session: another one gets the rows that came back, and then the chunks
// that have not. Head rows are computed again, and are the same to the bit.
Status Session::recover() {
  for (int i = 0;; ++i) {
    Status status = try_recover();
    if (status.ok() || !is_lost(status.error()) || i == kMostRecoveries) return status;
  }
}

Status Session::try_recover() {
  SPLITD_TRY(reopen());
  pending_.forget_dead();
  SPLITD_ASSIGN(LayerRun head, LayerRun::open(*pipeline_.head, pipeline_.head_layers,
                                              {shape_.n_ctx, pending_.n_row(), shape_.type}));
  SPLITD_TRY(replay(head, tail_.timeline().n_committed()));
  size_t at = tail_.timeline().n_committed();
  for (const uint32_t n : chunks_) {
    SPLITD_TRY(replay_chunk(head, std::span(tokens_).subspan(at, n)));
    at += n;
  }
  for (uint32_t i = 0; i < pending_.n_owed(); ++i)
    SPLITD_TRY(replay_frame(head, pending_.frame(i)));
  return {};
}

// Sends the first n_token again, and waits for them.
Status Session::replay(LayerRun& head, size_t n_token) {
  size_t n_sent = 0, n_back = 0;
  std::deque<uint32_t> chunks;
  while (n_back < n_token) {
    while (n_sent < n_token && chunks.size() < pipeline_.chunks_in_flight) {
      const size_t most = is_bulk(n_sent) ? kBulkRows : chunk_rows();
      const uint32_t n = cut_chunk(n_sent, std::min(most, n_token - n_sent));
      SPLITD_TRY(replay_chunk(head, std::span(tokens_).subspan(n_sent, n)));
      chunks.push_back(n);
      n_sent += n;
    }
    SPLITD_TRY(receive());
    n_back += chunks.front();
    chunks.pop_front();
    mark_done(n_back);
  }
  return {};
}

Status Session::replay_chunk(LayerRun& head, std::span<const uint32_t> tokens) {
  const auto n = static_cast<uint32_t>(tokens.size());
  std::vector<float> rows(tokens.size() * d_model());
  pipeline_.head->embed(tokens, rows.data());
  TimelineRequest request;
  // In a session that gets nothing but committed chains ids are positions.
  const uint32_t first = next_body_id_;
  request.append = Frame{.first = first,
                         .base = first == 0 ? kNoRow : first - 1,
                         .n_row = n,
                         .commit = true,
                         .bulk = is_bulk(first)};
  SPLITD_TRY(head.run(request, rows.data(), [this] { return go_on(); }));
  for (uint32_t i = 0; i < n; ++i) body_ids_[first + i] = first + i;
  return send(request, rows);
}

// …and what is left of a frame in flight. Here too ids are those of the scratch head.
Status Session::replay_frame(LayerRun& head, PendingFrame& frame) {
  const std::span<PendingRow> rows = pending_.rows_of(frame);
  ids_.clear();
  for (uint32_t i = 0; i < frame.n_row; ++i) {
    ids_.push_back(rows[i].token);
    rows[i].body_id = next_body_id_ + i;
  }
  TimelineRequest request;
  request.append =
      Frame{.first = next_body_id_,
            .base = hang(frame, &PendingRow::body_id, head.timeline().last_committed()),
            .n_row = frame.n_row,
            .parents = parents_};
  SPLITD_TRY(embed(ids_));
  SPLITD_TRY(head.run(request, rows_.data(), [this] { return go_on(); }));
  frame.is_alone = false;  // what it costs now is no step's
  return send(request, rows_);
}

// The ends are cut at once; the body hears of it with the next request.
Status Session::rewind_ends(uint32_t n_token) {
  TimelineRequest request;
  request.edit = Edit::rewind;
  request.rewind = n_token;
  const auto never_stop = [] { return true; };
  SPLITD_TRY(head_.run(request, nullptr, never_stop));
  SPLITD_TRY(tail_.run(request, nullptr, never_stop));
  tokens_.resize(n_token);
  body_ids_.resize(n_token);
  bulk_.erase(std::lower_bound(bulk_.begin(), bulk_.end(), n_token), bulk_.end());
  keep_ = {};
  rewind_due_ = true;
  if (n_token == 0) high_ = 0;
  mark_done(n_token);
  return {};
}

// …and now: a round trip.
Status Session::rewind_all(uint32_t n_token) {
  SPLITD_TRY(rewind_ends(n_token));
  TimelineRequest request;
  request.edit = Edit::rewind;
  request.rewind = n_token;
  rewind_due_ = false;
  SPLITD_TRY(send(request, {}));
  return receive_or_recover();
}

// The committed text becomes its first n_token tokens.
Status Session::cut_to(uint32_t n_token) {
  // A bulk chunk stays whole or goes: part of one could not be replayed.
  if (const uint32_t begin = n_token - n_token % kBulkRows; is_bulk(begin)) n_token = begin;
  // A ring keeps so many rows beyond its window, and no more can be taken back.
  if (has_window_ && high_ - n_token > kWindowSlack) n_token = 0;
  if (n_token == tokens_.size()) return {};
  return rewind_ends(n_token);
}

// Leaves the part of the prompt that is there already; the last token is always computed, since
// its row says what comes next.
Status Session::begin(std::span<const uint32_t> prompt, uint32_t& n_reused) {
  {
    const std::lock_guard lock(submitting_);
    cancelled_ = false;
    running_ = true;
  }
  if (broken_) SPLITD_TRY(settle());
  while (in_flight()) SPLITD_TRY(receive_or_recover());
  mark_done(tokens_.size());
  const auto same = std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end());
  const auto n_same = static_cast<uint32_t>(same.first - tokens_.begin());
  SPLITD_TRY(cut_to(std::min(n_same, static_cast<uint32_t>(prompt.size() - 1))));
  n_reused = static_cast<uint32_t>(tokens_.size());
  return {};
}

Status Session::end(Status status) {
  const std::lock_guard lock(submitting_);
  running_ = false;
  if (!status.ok()) broken_ = true;
  return status;
}

// The tokens' rows, to rows_.
Status Session::embed(std::span<const uint32_t> tokens) {
  rows_.resize(tokens.size() * d_model());
  pipeline_.head->embed(tokens, rows_.data());
  const size_t bad = first_not_finite(rows_);
  if (bad == rows_.size()) return {};
  return model_error("the embedding of token " + std::to_string(tokens[bad / d_model()]) +
                     " is not finite at column " + std::to_string(bad % d_model()));
}

Status Session::send_chunk(std::span<const uint32_t> tokens) {
  const auto n = static_cast<uint32_t>(tokens.size());
  const bool bulk = takes_bulk_ && n == kBulkRows && tokens_.size() % kBulkRows == 0;
  SPLITD_TRY(embed(tokens));
  TimelineRequest request;
  request.append = Frame{.first = head_.timeline().next_id(),
                         .base = head_.timeline().last_committed(),
                         .n_row = n,
                         .commit = true,
                         .bulk = bulk,
                         .n_unread = count_unread(tokens_.size(), n)};
  SPLITD_TRY(head_.run(request, rows_.data(), [this] { return go_on(); }));
  const RowId first = next_body_id_;
  request.append->first = first;
  request.append->base = body_ids_.empty() ? kNoRow : body_ids_.back();
  request.edit = rewind_due_ ? Edit::rewind : Edit::none;
  request.rewind = static_cast<uint32_t>(tokens_.size());
  SPLITD_TRY(send(request, rows_));
  rewind_due_ = false;
  if (bulk) bulk_.push_back(static_cast<uint32_t>(tokens_.size()));
  chunks_.push_back(n);
  for (uint32_t i = 0; i < n; ++i) {
    tokens_.push_back(tokens[i]);
    body_ids_.push_back(first + i);
  }
  high_ = std::max(high_, static_cast<uint32_t>(tokens_.size()));
  return {};
}

// The rows of the oldest chunk in flight come back and go through the tail, in reply_.rows.
Status Session::finish_chunk(uint32_t n_row) {
  SPLITD_TRY(receive_or_recover());
  chunks_.pop_front();
  if (reply_.ids.size() != n_row || reply_.rows.size() != size_t{n_row} * d_model()) {
    return peer_error("the body answered " + std::to_string(reply_.ids.size()) + " rows of " +
                      std::to_string(n_row));
  }
  TimelineRequest request;
  request.append = Frame{.first = tail_.timeline().next_id(),
                         .base = tail_.timeline().last_committed(),
                         .n_row = n_row,
                         .commit = true,
                         .bulk = is_bulk(tail_.timeline().n_committed()),
                         .n_unread = count_unread(tail_.timeline().n_committed(), n_row)};
  SPLITD_TRY(tail_.run(request, reply_.rows.data(), [this] { return go_on(); }));
  mark_done(tail_.timeline().n_committed());
  return {};
}

// Chunks overlap: while the body computes one, the head does the next and the tail the one before.
// The first ones are short, each as long as all before it: a line that was idle carries little in
// its first round trips, and the body begins with what has arrived. Bulk chunks are what they are.
Status Session::prefill(std::span<const uint32_t> tokens, const ProgressFn& progress,
                        const OnHidden& on_hidden) {
  const size_t most = chunk_rows();
  const size_t least = std::min<size_t>(most, pipeline_.first_chunk_rows);
  size_t n_sent = 0, n_back = 0;
  const size_t first_row = tokens_.size();
  while (n_back < tokens.size()) {
    while (n_sent < tokens.size() && chunks_.size() < pipeline_.chunks_in_flight) {
      const size_t left = tokens.size() - n_sent;
      const bool bulk = takes_bulk_ && tokens_.size() % kBulkRows == 0 && left >= kBulkRows;
      const size_t wanted = least == 0 ? most : std::clamp(n_sent, least, most);
      const size_t n = bulk ? kBulkRows : cut_chunk(tokens_.size(), std::min(wanted, left));
      SPLITD_TRY(send_chunk(tokens.subspan(n_sent, n)));
      n_sent += n;
    }
    const uint32_t n = chunks_.front();
    SPLITD_TRY(finish_chunk(n));
    SPLITD_TRY(on_hidden(first_row + n_back, reply_.rows));
    n_back += n;
    if (progress && !progress({"prompt", n_back, tokens.size()})) return interrupted();
  }
  return {};
}

Result<Generated> Session::generate(std::span<const uint32_t> prompt,
                                    const GenerateOptions& options, Sampler& sampler,
                                    const std::function<bool(uint32_t)>& on_token,
                                    const ProgressFn& progress) {
  SPLITD_TRY(check_prompt(prompt));
  Generated out;
  out.n_prompt = static_cast<uint32_t>(prompt.size());
  const Clock::time_point start = Clock::now();
  const auto work = [&]() -> Status {
    SPLITD_TRY(begin(prompt, out.n_reused));
    prompt_hidden_.clear();
    const bool is_studied = options.drafter != nullptr && is_far();
    first_read_ = prompt.size() - std::min(prompt.size(), is_studied ? kMostStudied : 1);
    for (const uint32_t token : prompt) sampler.push(token, false);
    SPLITD_TRY(prefill(prompt.subspan(out.n_reused), progress,
                       [&](size_t, std::span<const float> hidden) -> Status {
                         const auto last = hidden.last(d_model());
                         rows_.assign(last.begin(), last.end());
                         if (is_studied) keep_prompt(hidden);
                         return {};
                       }));
    logits_.resize(n_vocab());
    std::vector<float> normed(d_model());
    pipeline_.tail->norm(std::span(rows_).last(d_model()), normed.data());
    pipeline_.tail->project(normed, logits_.data());
    out.prefill_ms = ms_since(start);
    Task task{out, options, sampler, on_token};
    return decode(task);
  };
  SPLITD_TRY(end(work()));
  out.decode_ms = ms_since(start) - out.prefill_ms;
  return out;
}

Status Session::score(std::span<const uint32_t> text,
                      const std::function<Status(size_t, std::span<float>)>& on_row) {
  constexpr size_t kRowsAtOnce = 32;  // whose logits are in memory together
  SPLITD_TRY(check_prompt(text));
  const auto work = [&]() -> Status {
    uint32_t n_reused = 0;
    SPLITD_TRY(begin(text.first(1), n_reused));
    first_read_ = 0;
    std::vector<float> normed(kRowsAtOnce * d_model());
    logits_.resize(kRowsAtOnce * n_vocab());
    return prefill(text, {}, [&](size_t first, std::span<const float> hidden) -> Status {
      for (size_t at = 0; at < hidden.size() / d_model(); at += kRowsAtOnce) {
        const size_t n = std::min(kRowsAtOnce, hidden.size() / d_model() - at);
        const std::span<float> some = std::span(normed).first(n * d_model());
        pipeline_.tail->norm(hidden.subspan(at * d_model(), n * d_model()), some.data());
        pipeline_.tail->project(some, logits_.data());
        for (size_t i = 0; i < n; ++i) {
          const auto logits = std::span(logits_).subspan(i * n_vocab(), n_vocab());
          SPLITD_TRY(on_row(first + at + i, logits));
        }
      }
      return {};
    });
  };
  return end(work());
}

}  // namespace splitd

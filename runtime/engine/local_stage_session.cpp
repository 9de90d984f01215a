// The bookkeeping behind local_stage_session.h.
#include "runtime/engine/local_stage_session.h"

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/local_stage.h"

namespace splitd {

using Edit = TimelineRequest::Edit;

// Entries of more rows than this (and than max_pending) are freed when their reply was seen:
// prompts come rarely, their memory would stay for ever.
static constexpr uint32_t kKeepRows = 64;

StageSession::StageSession(const KvShape& shape, uint32_t d_model, uint32_t window,
                           std::unique_ptr<Kv> kv)
    : front_(shape.n_ctx, shape.max_pending),
      window_(window),
      max_pending_(shape.max_pending),
      keep_floats_(size_t{std::max(kKeepRows, shape.max_pending)} * d_model),
      back_(shape.n_ctx, shape.max_pending),
      kv_(std::move(kv)) {}

// ---- Taking requests in, giving replies.

Status StageSession::check_order(const StageRequest& request) const {
  const std::string seq = "seq " + std::to_string(request.seq);
  const std::string ack = "ack " + std::to_string(request.ack);
  if (request.seq == 0) return usage_error("seq 0: the first one is 1");
  if (request.ack >= request.seq) {
    return usage_error(ack + " in " + seq + ": only an earlier reply can have been seen");
  }
  if (request.ack > delivered_) {
    return usage_error(ack + ": the last reply given was " + std::to_string(delivered_));
  }
  if (request.seq <= acked_) {
    return usage_error(seq + ": its reply was seen, says ack " + std::to_string(acked_));
  }
  if (request.seq > last_ && request.seq - last_ != 1) {
    return usage_error(seq + ": the next one is " + std::to_string(last_ + 1));
  }
  if (request.seq - std::max(acked_, request.ack) > kReplyWindow) {
    return usage_error(seq + " with " + ack + ": at most " + std::to_string(kReplyWindow) +
                       " replies are kept");
  }
  return {};
}

// Positions up to n_written_ were given to rows, so layers with a window have lost those more than
// window + max_pending + kWindowSlack before it. The row that follows a rewind to n looks back at
// n + 1 − window … n, and layers with a larger window have lost no more than they may.
Status StageSession::check_window(const TimelineRequest& request) const {
  if (request.edit != Edit::rewind || request.rewind == 0 || window_ == 0) return {};
  const uint64_t kept =
      uint64_t{std::max(request.rewind + 1, window_)} + max_pending_ + kWindowSlack;
  if (n_written_ <= kept) return {};
  return Error{ErrorKind::failed,
               std::string(kLost) + ": rewind " + std::to_string(request.rewind) + " after " +
                   std::to_string(n_written_) + " rows: a window of " + std::to_string(window_) +
                   " rows does not reach back so far; rewind 0 always does"};
}

Result<bool> StageSession::accept(const StageRequest& request, const Status& content) {
  if (n_owed_ == kReplyWindow) {
    return usage_error("seq " + std::to_string(request.seq) + ": " + std::to_string(kReplyWindow) +
                       " requests are in flight already");
  }
  if (Status order = check_order(request); !order.ok()) {
    owe(request.seq, order.take_error());
    return false;
  }
  forget_replies(request.ack);
  if (request.seq <= last_) {  // again: answered from memory
    owe(request.seq, {});
    return false;
  }
  last_ = request.seq;
  owe(request.seq, {});
  Status fine = content;
  if (fine.ok()) fine = front_.check(request.timeline);
  if (fine.ok()) fine = check_window(request.timeline);
  if (fine.ok()) return store(request);
  entry(last_).error = fine.take_error();
  pass_refused();
  return false;
}

bool StageSession::store(const StageRequest& request) {
  StageEntry& to = entry(request.seq);
  to.timeline = request.timeline;
  if (auto& frame = to.timeline.append) {
    to.parents.assign(frame->parents.begin(), frame->parents.end());
    frame->parents = to.parents;
  }
  to.rows.assign(request.rows.begin(), request.rows.end());
  const Timeline::Applied applied = front_.apply(to.timeline);
  if (request.timeline.edit == Edit::rewind && request.timeline.rewind == 0) n_written_ = 0;
  for (const RowPlace& row : applied.rows) {
    if (!row.born_dead) n_written_ = std::max(n_written_, row.position + 1);
  }
  return !applied.killed.empty();
}

void StageSession::owe(uint32_t seq, std::optional<Error> error) {
  Owed& last = owed_[(first_owed_ + n_owed_) % kReplyWindow];
  last.seq = seq;
  last.error = std::move(error);
  ++n_owed_;
}

void StageSession::forget_replies(uint32_t ack) {
  for (; acked_ < ack; ++acked_) {
    StageEntry& seen = entry(acked_ + 1);
    seen.error.reset();
    seen.ids.clear();
    seen.dead.clear();
    if (seen.rows.capacity() <= keep_floats_) continue;
    std::vector<float>().swap(seen.rows);
    std::vector<RowId>().swap(seen.ids);
    std::vector<RowId>().swap(seen.dead);
  }
}

bool StageSession::reply_ready() const {
  const Owed& next = owed_[first_owed_];
  return n_owed_ > 0 && (next.error || next.seq <= done_);
}

void StageSession::give(StageReply& reply) {
  Owed& next = owed_[first_owed_];
  reply.seq = next.seq;
  reply.ids.clear();
  reply.dead.clear();
  reply.rows.clear();
  if (next.error) {
    reply.error = std::move(next.error);
    next.error.reset();
  } else if (next.seq <= acked_) {  // asked for again, then seen by another request
    reply.error = usage_error("seq " + std::to_string(next.seq) +
                              ": its reply was seen, says ack " + std::to_string(acked_));
  } else {
    const StageEntry& from = entry(next.seq);
    reply.error = from.error;
    if (!from.error) {
      reply.ids.assign(from.ids.begin(), from.ids.end());
      reply.dead.assign(from.dead.begin(), from.dead.end());
      reply.rows.assign(from.rows.begin(), from.rows.end());
    }
    delivered_ = std::max(delivered_, next.seq);
  }
  first_owed_ = (first_owed_ + 1) % kReplyWindow;
  --n_owed_;
}

// Refused requests are not computed: their replies are there once those before are.
void StageSession::pass_refused() {
  while (done_ < last_ && entry(done_ + 1).error) ++done_;
}

// ---- Computing.

void StageSession::take_next() {
  current_ = &entry(done_ + 1);
}

std::span<const SlotMove> StageSession::begin() {
  const Timeline::Applied applied = back_.apply(current_->timeline);
  places_ = applied.rows;
  n_computed_ = 0;
  order_.clear();
  for (uint32_t row = 0; row < places_.size(); ++row) {
    if (!places_[row].born_dead) order_.push_back(row);
  }
  // By position, so that any piece of it has its ancestors in itself or in the pieces before, and
  // attention meets its rows in the order it likes.
  const auto before = [this](uint32_t a, uint32_t b) {
    return std::pair(places_[a].position, a) < std::pair(places_[b].position, b);
  };
  if (!std::is_sorted(order_.begin(), order_.end(), before)) {
    std::sort(order_.begin(), order_.end(), before);
  }
  return applied.moves;
}

// What is alive in `front` was alive at all times before, so its ancestors were computed: dead rows
// can be left out, they only take their places in `back`.
size_t StageSession::count_left() {
  const auto left = order_.begin() + static_cast<std::ptrdiff_t>(n_computed_);
  const auto is_dead = [this](uint32_t row) { return !front_.is_live(places_[row].id); };
  if (is_bulk() && !std::all_of(left, order_.end(), is_dead)) return order_.size() - n_computed_;
  order_.erase(std::remove_if(left, order_.end(), is_dead), order_.end());
  return order_.size() - n_computed_;
}

void StageSession::finish() {
  StageEntry& reply = *current_;
  reply.ids.clear();
  reply.dead.clear();
  const size_t d = places_.empty() ? 0 : reply.rows.size() / places_.size();
  for (size_t row = 0; row < places_.size(); ++row) {
    if (!front_.is_live(places_[row].id)) {
      reply.dead.push_back(places_[row].id);
      continue;
    }
    const size_t to = reply.ids.size();
    if (to != row) std::copy_n(reply.rows.data() + row * d, d, reply.rows.data() + to * d);
    reply.ids.push_back(places_[row].id);
  }
  reply.rows.resize(reply.ids.size() * d);
  reply.error = std::move(broken_);
  broken_.reset();
  current_ = nullptr;
  ++done_;
  pass_refused();
}

}  // namespace splitd

// Owns: one session of a local stage: which requests were taken in, which replies are owed and
// kept, and the two timelines: `front` has everything accepted, `back` what has been computed.
// A request and its reply share one of kReplyWindow entries, whose memory is kept from use to use.
// Not thread-safe: two groups of members, each with its own owner (below).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/fair_share.h"
#include "runtime/engine/stage.h"
#include "runtime/engine/timeline.h"

namespace splitd {

// Belongs to whoever submits until it is accepted, then to the computing thread until it is done.
struct StageEntry {
  TimelineRequest timeline;  // its parents lie in `parents`
  std::vector<int32_t> parents;
  std::vector<float> rows;  // (n_row, d_model), computed in place; once done only those of `ids`
  std::vector<RowId> ids;
  std::vector<RowId> dead;
  std::optional<Error> error;  // refused, or the numbers went wrong
};

// Whose sessions: those of one share its part of a batch. Guarded by the stage's mutex.
struct StageOwner {
  static constexpr size_t kNoClaim = SIZE_MAX;

  uint32_t n_session = 0;
  // Computing time that it had beyond whoever had least of those who have to wait; less than 0: it
  // did not want its part.
  double spent_ms = 0;
  // While a batch is shared out or charged.
  size_t claim = kNoClaim;
  size_t n_hungry = 0;  // sessions that want more
  RowLoad load;
  uint64_t bulk_turn = 0;  // when one of its bulk chunks was computed last
};

class StageSession {
 public:
  // `window`: the smallest of the layers that have one, 0 without.
  StageSession(const KvShape& shape, uint32_t d_model, uint32_t window, std::unique_ptr<Kv> kv);

  // ---- Guarded by the stage's mutex.

  // Takes in a request; `content` is what can be said about it without the session. Fails when no
  // further reply can be owed. Returns whether rows died that may be in computation.
  Result<bool> accept(const StageRequest& request, const Status& content);
  bool has_work() const { return done_ < last_; }
  bool wants_turn() const { return has_work() && !held; }
  bool reply_ready() const;
  void give(StageReply& reply);  // requires reply_ready()
  void disown() { n_owed_ = 0; }
  bool is_live(RowId id) const { return front_.is_live(id); }

  StageOwner* owner = nullptr;  // outlives it
  bool running = false;         // the computing thread holds this session
  bool closed = false;          // while running: its rows are wanted no more
  bool held = false;            // gets no turn
  uint64_t bulk_turn = 0;       // when a bulk chunk was computed last

  // ---- The computing thread's, while `running`; the functions marked * also need the mutex.

  // * The next request becomes the current one. Requires has_work() and no current one.
  void take_next();
  // Carries the current request over to `back`; what it says to move has to be moved.
  std::span<const SlotMove> begin();
  // * Forgets rows that are dead by now, of a bulk chunk all or none; how many are left to compute.
  // They are left().
  size_t count_left();
  // * The reply to the current request is there; an error where break_current() said one.
  void finish();

  bool has_current() const { return current_ != nullptr; }
  StageEntry& current() { return *current_; }
  bool is_bulk() const { return current_->timeline.append && current_->timeline.append->bulk; }
  uint32_t n_unread() const {
    return current_->timeline.append ? current_->timeline.append->n_unread : 0;
  }
  // Rows of the current request that are still to be computed, ancestors first.
  std::span<const uint32_t> left() const { return std::span(order_).subspan(n_computed_); }
  void mark_computed(size_t n_row) { n_computed_ += n_row; }
  void break_current(Error error) { broken_ = std::move(error); }
  bool is_broken() const { return broken_.has_value(); }
  const RowPlace& place(uint32_t row) const { return places_[row]; }
  const Timeline& back() const { return back_; }
  Kv& kv() { return *kv_; }

 private:
  struct Owed {
    uint32_t seq = 0;
    std::optional<Error> error;  // given instead of what is kept for seq
  };

  StageEntry& entry(uint32_t seq) { return entries_[seq % kReplyWindow]; }
  Status check_order(const StageRequest& request) const;
  Status check_window(const TimelineRequest& request) const;
  bool store(const StageRequest& request);
  void owe(uint32_t seq, std::optional<Error> error);
  void forget_replies(uint32_t ack);
  void pass_refused();

  // Guarded by the mutex. acked_ ≤ delivered_ ≤ done_ ≤ last_ ≤ acked_ + kReplyWindow
  uint32_t acked_ = 0;
  uint32_t delivered_ = 0;               // the last seq whose reply next() has given
  uint32_t done_ = 0;                    // the last seq whose reply is there
  uint32_t last_ = 0;                    // the last seq taken in
  std::array<Owed, kReplyWindow> owed_;  // a ring: replies to give, in the order of submits
  uint32_t first_owed_ = 0;
  uint32_t n_owed_ = 0;
  Timeline front_;
  uint32_t n_written_ = 0;  // positions that rows accepted since row 0 have reached

  const uint32_t window_;
  const uint32_t max_pending_;
  const size_t keep_floats_;  // an entry of more gives its memory back

  // Entries (acked_, last_] are in use, by their seq.
  std::array<StageEntry, kReplyWindow> entries_;

  // The computing thread's.
  Timeline back_;
  std::unique_ptr<Kv> kv_;
  StageEntry* current_ = nullptr;
  std::span<const RowPlace> places_;  // of the current request, by row
  std::vector<uint32_t> order_;       // its rows, ancestors first; those computed stand first
  size_t n_computed_ = 0;
  std::optional<Error> broken_;  // what went wrong in the current request
};

}  // namespace splitd

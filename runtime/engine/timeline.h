// Owns: the tree of rows of one session (DESIGN §3), as pure bookkeeping: which rows are committed,
// which are pending, and in which slot a row's KV entry lies. Computes nothing, allocates nothing
// after construction. Deterministic: two timelines given the same requests agree in every slot, so
// a receiver keeps one for what it has accepted and one for what it has executed.
// Refuses a request whole, before anything changes. Not thread-safe.
//
// Slots. A committed row lies in the slot of its position, always, so attention streams over
// 0 … n_committed−1. A pending row takes its position's slot if no live row has it (plain decoding
// never moves a byte), else one of max_pending slots from n_ctx on; when it is kept it moves.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

using RowId = uint32_t;
inline constexpr RowId kNoRow = UINT32_MAX;  // the place before the first row; never an id

// Rows of a bulk chunk, which begins at a multiple of as many positions (DESIGN §5).
inline constexpr uint32_t kBulkRows = 256;

// New rows: a tree that hangs from one base row, or branches that hang from it and from rows with
// ids before it.
struct Frame {
  RowId first = 0;      // ids are first, first + 1, …: consecutive over the session, never reused
  RowId base = kNoRow;  // the last committed row, or a pending one
  uint32_t n_row = 0;
  // Index in this frame; −1 is the base, −1 − k the row with the id base − k. Empty for a chain.
  std::span<const int32_t> parents = {};
  bool commit = false;  // a chain that is committed at once
  bool bulk = false;    // …a bulk chunk, computed as one where that is known
  // Nobody reads what the model's last layer makes of so many of its first rows: whoever has that
  // layer may leave them as they were before it. Not on the wire.
  uint32_t n_unread = 0;
};

struct TimelineRequest {
  enum class Edit : uint8_t { none, keep, rewind };
  Edit edit = Edit::none;
  RowId keep = kNoRow;  // the path to this row becomes committed
  bool alone = false;   // with keep: rows below it die too
  uint32_t rewind = 0;  // the committed path is cut to so many rows
  std::optional<Frame> append;
};

// A row that is born dead has no place: its position and slot mean nothing.
struct RowPlace {
  RowId id = 0;
  RowId parent = kNoRow;
  uint32_t position = 0;
  uint32_t slot = 0;
  bool born_dead = false;
};

struct SlotMove {
  uint32_t from = 0;
  uint32_t to = 0;
};

class Timeline {
 public:
  // `next_id`: the ids before it count as dead rows.
  Timeline(uint32_t n_ctx, uint32_t max_pending, RowId next_id = 0);

  // Whether `apply` may be called; the message names the field, its value and what would do.
  [[nodiscard]] Status check(const TimelineRequest& request);

  // Whether all rows of its frame would live: false when one hangs from a row that is dead by then.
  // Requires check(request).ok() and a frame.
  [[nodiscard]] bool lives_after(const TimelineRequest& request);

  // What a request did; the spans hold until the next apply. Moves are to be carried out in their
  // order before any of the new rows is computed.
  struct Applied {
    std::span<const SlotMove> moves;
    std::span<const RowPlace> rows;  // in the frame's order
    std::span<const RowId> killed;   // rows that were pending or committed and are dead now
  };
  // Requires check(request).ok().
  Applied apply(const TimelineRequest& request);

  uint32_t n_committed() const { return static_cast<uint32_t>(committed_.size()); }
  uint32_t n_pending() const { return static_cast<uint32_t>(pending_.size()); }
  RowId last_committed() const { return committed_.empty() ? kNoRow : committed_.back(); }
  RowId next_id() const { return next_id_; }
  uint32_t n_ctx() const { return n_ctx_; }
  uint32_t n_slot() const { return n_ctx_ + max_pending_; }
  // Dead is every id given so far that is neither committed nor pending.
  bool is_live(RowId id) const;

  // Slots of the row's pending ancestors and itself, for positions n_committed() … its own.
  // `slots` has room for max_pending entries; returns how many were written. Requires a pending
  // row.
  uint32_t pending_path(RowId id, std::span<uint32_t> slots) const;

 private:
  struct Pending {
    RowId id;
    RowId parent;  // kNoRow or last_committed() for the rows next to the committed path
    uint32_t position;
    uint32_t slot;
  };

  struct After {
    RowId last;  // committed
    uint32_t n_committed;
    uint32_t n_pending;
  };

  const Pending* find_pending(RowId id) const;
  bool is_committed(RowId id) const;
  Status check_edit(const TimelineRequest& request) const;
  Status check_frame(const TimelineRequest& request);
  After after_edit(const TimelineRequest& request);
  Result<std::optional<uint32_t>> position_below(RowId row, const TimelineRequest& request,
                                                 const After& after) const;
  Status place_rows(const TimelineRequest& request, const After& after);
  Status check_parents(const Frame& frame) const;
  uint32_t mark_below(RowId id);
  void commit_path(RowId id, bool alone);
  void cut(uint32_t n_row);
  void kill_unmarked();
  void append(const Frame& frame);
  uint32_t take_slot(uint32_t position);
  void free_slot(const Pending& row);

  uint32_t n_ctx_;
  uint32_t max_pending_;
  RowId next_id_;
  std::vector<RowId> committed_;      // by position; ascending
  std::vector<Pending> pending_;      // ascending by id; a parent stands before its children
  std::vector<uint8_t> marks_;        // scratch beside pending_: which rows stay
  std::vector<uint8_t> slot_taken_;   // per position: a live pending row lies in its own slot
  std::vector<uint32_t> free_slots_;  // of n_ctx … n_ctx + max_pending − 1
  std::vector<SlotMove> moves_;
  std::vector<RowPlace> rows_;
  std::vector<RowId> killed_;
  std::vector<uint32_t> path_;  // scratch: indices into pending_
  // What check() found of a frame: by row its position, or that it is dead.
  std::vector<uint32_t> positions_;
};

}  // namespace splitd

// The bookkeeping behind timeline.h. Every loop is over pending rows, of which there are at most
// max_pending, or over the frame.
#include "runtime/engine/timeline.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace splitd {

using Edit = TimelineRequest::Edit;

static std::string row_text(RowId id) {
  return id == kNoRow ? "none" : std::to_string(id);
}

static constexpr uint32_t kDead = UINT32_MAX;  // no row's position

// How far before the base a row's id lies that Frame::parents names by a negative number.
static uint32_t parents_back(int32_t parent) {
  return static_cast<uint32_t>(-1 - parent);
}

Timeline::Timeline(uint32_t n_ctx, uint32_t max_pending, RowId next_id)
    : n_ctx_(n_ctx),
      max_pending_(max_pending),
      next_id_(next_id),
      slot_taken_(n_ctx, 0),
      free_slots_(max_pending) {
  committed_.reserve(n_ctx);
  pending_.reserve(max_pending);
  marks_.reserve(max_pending);
  moves_.reserve(max_pending);
  path_.reserve(max_pending);
  rows_.reserve(std::max(n_ctx, max_pending));
  positions_.reserve(std::max(n_ctx, max_pending));
  killed_.reserve(n_ctx + max_pending);
  // Popped from the back: the lowest slot first.
  std::iota(free_slots_.rbegin(), free_slots_.rend(), n_ctx);
}

const Timeline::Pending* Timeline::find_pending(RowId id) const {
  const auto at = std::lower_bound(pending_.begin(), pending_.end(), id,
                                   [](const Pending& row, RowId value) { return row.id < value; });
  return at != pending_.end() && at->id == id ? &*at : nullptr;
}

bool Timeline::is_committed(RowId id) const {
  return std::binary_search(committed_.begin(), committed_.end(), id);
}

bool Timeline::is_live(RowId id) const {
  return find_pending(id) != nullptr || is_committed(id);
}

// Marks the pending rows below `id`, a pending or the last committed row; returns how many.
uint32_t Timeline::mark_below(RowId id) {
  marks_.assign(pending_.size(), 0);
  uint32_t count = 0;
  for (size_t i = 0; i < pending_.size(); ++i) {
    const RowId parent = pending_[i].parent;
    const Pending* above = parent == id ? nullptr : find_pending(parent);
    const bool below = parent == id || (above != nullptr && marks_[above - pending_.data()] != 0);
    marks_[i] = below ? 1 : 0;
    count += marks_[i];
  }
  return count;
}

Status Timeline::check(const TimelineRequest& request) {
  SPLITD_TRY(check_edit(request));
  if (request.append) return check_frame(request);
  return {};
}

Status Timeline::check_edit(const TimelineRequest& request) const {
  if (request.edit == Edit::rewind && request.rewind > n_committed()) {
    return usage_error("rewind " + std::to_string(request.rewind) + ": only " +
                       std::to_string(n_committed()) + " rows are committed");
  }
  if (request.edit != Edit::keep) return {};
  if (request.keep == last_committed() || find_pending(request.keep) != nullptr) return {};
  const std::string what = "keep " + row_text(request.keep) + ": ";
  if (request.keep >= next_id_) return usage_error(what + "no such row yet");
  if (is_committed(request.keep)) return usage_error(what + "an earlier committed row");
  return usage_error(what + "the row is dead");
}

Status Timeline::check_parents(const Frame& frame) const {
  if (!frame.parents.empty() && frame.parents.size() != frame.n_row) {
    return usage_error("parents: " + std::to_string(frame.parents.size()) + " for " +
                       std::to_string(frame.n_row) + " rows");
  }
  for (size_t i = 0; i < frame.parents.size(); ++i) {
    const int32_t parent = frame.parents[i];
    if (parent >= static_cast<int64_t>(i)) {
      return usage_error("parents[" + std::to_string(i) + "] is " + std::to_string(parent) +
                         "; an earlier row of the frame or a negative number is accepted");
    }
    if (parent < -1 && (frame.base == kNoRow || frame.base < parents_back(parent))) {
      return usage_error("parents[" + std::to_string(i) + "] is " + std::to_string(parent) +
                         "; the base is " + row_text(frame.base) +
                         ", which has no such row before it");
    }
    if (frame.commit && parent != static_cast<int32_t>(i) - 1) {
      return usage_error("parents: only a chain can be committed at once");
    }
  }
  return {};
}

// What the session looks like once the request's edit is done. Leaves marks_ telling which pending
// rows then are still pending.
Timeline::After Timeline::after_edit(const TimelineRequest& request) {
  if (request.edit == Edit::rewind) {
    marks_.assign(pending_.size(), 0);
    return {request.rewind == 0 ? kNoRow : committed_[request.rewind - 1], request.rewind, 0};
  }
  if (request.edit == Edit::keep && (request.alone || request.keep != last_committed())) {
    const Pending* row = find_pending(request.keep);
    const uint32_t n_committed = row == nullptr ? this->n_committed() : row->position + 1;
    if (!request.alone) return {request.keep, n_committed, mark_below(request.keep)};
    marks_.assign(pending_.size(), 0);
    return {request.keep, n_committed, 0};
  }
  marks_.assign(pending_.size(), 1);
  return {last_committed(), n_committed(), n_pending()};
}

// The position of a row below `row` after the edit, or nothing when `row` is dead by then.
Result<std::optional<uint32_t>> Timeline::position_below(RowId row, const TimelineRequest& request,
                                                         const After& after) const {
  const auto below = [](uint32_t position) { return std::optional<uint32_t>(position); };
  if (row == after.last) return below(after.n_committed);
  if (row != kNoRow && row >= next_id_) {
    return usage_error("base " + row_text(row) + ": no such row yet");
  }
  bool committed = row == kNoRow;
  if (const Pending* pending = find_pending(row)) {
    if (marks_[static_cast<size_t>(pending - pending_.data())] != 0) {
      return below(pending->position + 1);
    }
    for (RowId id = request.edit == Edit::keep ? request.keep : kNoRow; id != kNoRow;) {
      const Pending* above = find_pending(id);
      if (above == nullptr) break;
      committed = committed || id == row;
      id = above->parent;
    }
  } else if (row != kNoRow) {
    const auto at = std::lower_bound(committed_.begin(), committed_.end(), row);
    committed = at != committed_.end() && *at == row && at - committed_.begin() < after.n_committed;
  }
  if (committed) {
    return usage_error("base " + row_text(row) + ": earlier than the last committed row " +
                       row_text(after.last) + "; rewind first");
  }
  return std::optional<uint32_t>();
}

// Where the rows of the request's frame come to stand, to positions_.
Status Timeline::place_rows(const TimelineRequest& request, const After& after) {
  const Frame& frame = *request.append;
  SPLITD_ASSIGN(const std::optional<uint32_t> start, position_below(frame.base, request, after));
  positions_.clear();
  for (uint32_t i = 0; i < frame.n_row; ++i) {
    const int32_t parent = frame.parents.empty() ? static_cast<int32_t>(i) - 1 : frame.parents[i];
    if (parent >= 0) {
      const uint32_t above = positions_[static_cast<size_t>(parent)];
      positions_.push_back(above == kDead ? kDead : above + 1);
    } else if (parent == -1) {
      positions_.push_back(start.value_or(kDead));
    } else {
      SPLITD_ASSIGN(const std::optional<uint32_t> position,
                    position_below(frame.base - parents_back(parent), request, after));
      positions_.push_back(position.value_or(kDead));
    }
  }
  return {};
}

Status Timeline::check_frame(const TimelineRequest& request) {
  const Frame& frame = *request.append;
  if (frame.first != next_id_) {
    return usage_error("first is " + row_text(frame.first) + "; the next row is " +
                       row_text(next_id_));
  }
  const uint32_t most = frame.commit ? n_ctx_ : max_pending_;
  if (frame.n_row == 0 || frame.n_row > most) {
    return usage_error("a frame of " + std::to_string(frame.n_row) + " rows; 1 to " +
                       std::to_string(most) + " are accepted");
  }
  if (frame.n_row >= kNoRow - next_id_) return usage_error("the session has used up its row ids");
  if (frame.bulk && (!frame.commit || frame.n_row != kBulkRows)) {
    return usage_error("bulk: " + std::to_string(frame.n_row) + (frame.commit ? "" : " pending") +
                       " rows; " + std::to_string(kBulkRows) + " that are committed are accepted");
  }
  SPLITD_TRY(check_parents(frame));
  const After after = after_edit(request);
  SPLITD_TRY(place_rows(request, after));
  uint32_t n_live = 0, end = 0;
  for (const uint32_t position : positions_) {
    if (position == kDead) continue;
    ++n_live;
    end = std::max(end, position + 1);
  }
  if (n_live == 0) return {};
  if (frame.commit && frame.base != after.last) {
    return usage_error("commit: the base is " + row_text(frame.base) +
                       "; the last committed row is " + row_text(after.last));
  }
  if (frame.bulk && positions_[0] % kBulkRows != 0) {
    return usage_error("bulk: from position " + std::to_string(positions_[0]) + "; multiples of " +
                       std::to_string(kBulkRows) + " are accepted");
  }
  if (end > n_ctx_) {
    return usage_error("the frame needs " + std::to_string(end) + " positions; the session has " +
                       std::to_string(n_ctx_));
  }
  if (!frame.commit && n_live > max_pending_ - after.n_pending) {
    return usage_error(std::to_string(after.n_pending) + " pending rows and " +
                       std::to_string(n_live) + " new ones; the session has room for " +
                       std::to_string(max_pending_));
  }
  return {};
}

bool Timeline::lives_after(const TimelineRequest& request) {
  return place_rows(request, after_edit(request)).ok() &&
         std::find(positions_.begin(), positions_.end(), kDead) == positions_.end();
}

void Timeline::free_slot(const Pending& row) {
  if (row.slot < n_ctx_) {
    slot_taken_[row.slot] = 0;
  } else {
    free_slots_.push_back(row.slot);
  }
}

// Drops the pending rows whose mark is 0.
void Timeline::kill_unmarked() {
  size_t kept = 0;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (marks_[i] != 0) {
      pending_[kept++] = pending_[i];
    } else {
      killed_.push_back(pending_[i].id);
      free_slot(pending_[i]);
    }
  }
  pending_.resize(kept);
}

// The path to `id` becomes committed, rows neither on it nor below it die; `alone`, also those.
void Timeline::commit_path(RowId id, bool alone) {
  if (id == last_committed() && !alone) return;
  if (alone) {
    marks_.assign(pending_.size(), 0);
  } else {
    mark_below(id);
  }
  path_.clear();
  for (const Pending* row = find_pending(id); row != nullptr; row = find_pending(row->parent)) {
    path_.push_back(static_cast<uint32_t>(row - pending_.data()));
    marks_[path_.back()] = 2;
  }
  // First the dead give up their slots, then the path moves into its positions' own.
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (marks_[i] == 0) {
      killed_.push_back(pending_[i].id);
      free_slot(pending_[i]);
    }
  }
  for (size_t i = path_.size(); i-- > 0;) {
    const Pending& row = pending_[path_[i]];
    if (row.slot != row.position) moves_.push_back({row.slot, row.position});
    free_slot(row);
    committed_.push_back(row.id);
  }
  size_t kept = 0;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (marks_[i] == 1) pending_[kept++] = pending_[i];
  }
  pending_.resize(kept);
}

void Timeline::cut(uint32_t n_row) {
  marks_.assign(pending_.size(), 0);
  kill_unmarked();
  killed_.insert(killed_.end(), committed_.begin() + n_row, committed_.end());
  committed_.resize(n_row);
}

uint32_t Timeline::take_slot(uint32_t position) {
  if (slot_taken_[position] == 0) {
    slot_taken_[position] = 1;
    return position;
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Timeline::append(const Frame& frame) {
  next_id_ += frame.n_row;
  for (uint32_t i = 0; i < frame.n_row; ++i) {
    const int32_t parent = frame.parents.empty() ? static_cast<int32_t>(i) - 1 : frame.parents[i];
    RowPlace row{.id = frame.first + i};
    if (parent >= 0) {
      const RowPlace& above = rows_[static_cast<size_t>(parent)];
      row.parent = above.id;
      row.position = above.position + 1;
      row.born_dead = above.born_dead;
    } else {
      row.parent = parent == -1 ? frame.base : frame.base - parents_back(parent);
      const Pending* above = row.parent == last_committed() ? nullptr : find_pending(row.parent);
      row.position = above != nullptr ? above->position + 1 : n_committed();
      row.born_dead = row.parent != last_committed() && above == nullptr;
    }
    if (frame.commit && !row.born_dead) {
      row.slot = row.position;
      committed_.push_back(row.id);
    } else if (!row.born_dead) {
      row.slot = take_slot(row.position);
      pending_.push_back({row.id, row.parent, row.position, row.slot});
    }
    rows_.push_back(row);
  }
}

Timeline::Applied Timeline::apply(const TimelineRequest& request) {
  moves_.clear();
  rows_.clear();
  killed_.clear();
  if (request.edit == Edit::keep) commit_path(request.keep, request.alone);
  if (request.edit == Edit::rewind) cut(request.rewind);
  if (request.append) {
    // Rows that hung from the last committed row hang from an earlier one after a commit: they die.
    if (request.append->commit && request.append->base == last_committed()) {
      marks_.assign(pending_.size(), 0);
      kill_unmarked();
    }
    append(*request.append);
  }
  return {moves_, rows_, killed_};
}

uint32_t Timeline::pending_path(RowId id, std::span<uint32_t> slots) const {
  const Pending* row = find_pending(id);
  const uint32_t count = row->position - n_committed() + 1;
  for (uint32_t at = count; row != nullptr; row = find_pending(row->parent)) {
    slots[--at] = row->slot;
  }
  return count;
}

}  // namespace splitd

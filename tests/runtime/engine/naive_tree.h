// The tree of rows of one session in the plainest words: all rows for ever, everything looked up by
// walking. What a timeline, a stage or a body says about a request has to agree with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/timeline.h"

namespace splitd {

struct NaiveRow {
  RowId parent;
  uint32_t position;
  uint32_t token;
  char state;  // 'c'ommitted, 'p'ending, 'd'ead
};

class NaiveTree {
 public:
  using Edit = TimelineRequest::Edit;

  // `window`: the smallest of the layers', 0 without.
  NaiveTree(KvShape shape, uint32_t window)
      : shape_(shape), window_(window), ring_(window + shape.max_pending + kWindowSlack) {
    if (window_ != 0) last_at_.assign(ring_, kNoRow);
  }

  std::vector<NaiveRow> rows;
  std::vector<RowId> committed;

  RowId last() const { return committed.empty() ? kNoRow : committed.back(); }
  bool is_live(RowId id) const { return rows[id].state != 'd'; }
  std::vector<RowId> pending() const {
    std::vector<RowId> out;
    for (RowId id = 0; id < rows.size(); ++id) {
      if (rows[id].state == 'p') out.push_back(id);
    }
    return out;
  }
  // Whether something that the row after a rewind to n looks at was overwritten.
  bool is_lost(uint32_t n) const {
    if (window_ == 0) return false;
    for (uint32_t p = n + 1 < window_ ? 0 : n + 1 - window_; p < n; ++p) {
      if (last_at_[p % ring_] != p) return true;
    }
    return false;
  }
  // The least that can be rewound to, but 0.
  uint32_t first_kept() const {
    uint32_t n = 1;
    while (n < committed.size() && is_lost(n)) ++n;
    return n;
  }

  enum class Verdict { accepted, refused, lost };

  Verdict check(const TimelineRequest& request) const {
    if (request.edit == Edit::rewind && request.rewind > committed.size()) return Verdict::refused;
    if (request.edit == Edit::keep && request.keep != last() &&
        (request.keep >= rows.size() || rows[request.keep].state != 'p')) {
      return Verdict::refused;
    }
    if (request.append) {
      NaiveTree after = *this;
      after.do_edit(request);
      if (!after.accepts(*request.append)) return Verdict::refused;
    }
    return request.edit == Edit::rewind && is_lost(request.rewind) ? Verdict::lost
                                                                   : Verdict::accepted;
  }

  void apply(const TimelineRequest& request, const std::vector<uint32_t>& tokens) {
    do_edit(request);
    if (request.edit == Edit::rewind && request.rewind == 0) {
      std::fill(last_at_.begin(), last_at_.end(), kNoRow);
    }
    if (!request.append) return;
    const Frame& frame = *request.append;
    const RowId last = this->last();
    for (NaiveRow& row : rows) {
      if (frame.commit && frame.base == last && row.state == 'p') row.state = 'd';
    }
    for (uint32_t i = 0; i < frame.n_row; ++i) {
      const RowId parent = parent_of(frame, i);
      const uint32_t position = parent == kNoRow ? 0 : rows[parent].position + 1;
      const bool own = parent != kNoRow && parent >= frame.first;
      const bool dead = own ? rows[parent].state == 'd'
                            : parent != last && (parent == kNoRow || !is_live(parent));
      rows.push_back({parent, position, tokens[i], dead ? 'd' : frame.commit ? 'c' : 'p'});
      if (frame.commit && !dead) committed.push_back(static_cast<RowId>(rows.size() - 1));
      if (window_ != 0 && !dead) last_at_[position % ring_] = position;
    }
  }

  // Below which row a frame's row hangs, wherever that is.
  static RowId parent_of(const Frame& frame, uint32_t i) {
    const int32_t p = frame.parents.empty() ? static_cast<int32_t>(i) - 1 : frame.parents[i];
    if (p >= 0) return frame.first + static_cast<RowId>(p);
    return p == -1 ? frame.base : frame.base - static_cast<RowId>(-1 - p);
  }

 private:
  bool below(RowId id, RowId ancestor) const {
    while (id != kNoRow && id != ancestor) id = rows[id].parent;
    return id == ancestor;
  }

  void do_edit(const TimelineRequest& request) {
    if (request.edit == Edit::rewind) {
      for (NaiveRow& row : rows) {
        if (row.state == 'p' || row.position >= request.rewind) row.state = 'd';
      }
      committed.resize(request.rewind);
    }
    if (request.edit != Edit::keep || (request.keep == last() && !request.alone)) return;
    for (RowId row = 0; row < rows.size(); ++row) {
      if (rows[row].state != 'p') continue;
      const bool stays = !request.alone && below(row, request.keep);
      rows[row].state = below(request.keep, row) ? 'c' : stays ? 'p' : 'd';
      if (rows[row].state == 'c') committed.push_back(row);
    }
  }

  bool accepts(const Frame& frame) const {
    const uint32_t most = frame.commit ? shape_.n_ctx : shape_.max_pending;
    if (frame.first != rows.size() || frame.n_row == 0 || frame.n_row > most) return false;
    if (frame.base != last()) {
      if (frame.base >= rows.size() || rows[frame.base].state == 'c') return false;
    }
    std::vector<int64_t> position;  // −1: dead
    for (uint32_t i = 0; i < frame.n_row; ++i) {
      const int32_t p = frame.parents.empty() ? static_cast<int32_t>(i) - 1 : frame.parents[i];
      if (p >= static_cast<int32_t>(i)) return false;
      if (frame.commit && p != static_cast<int32_t>(i) - 1) return false;
      if (p < -1 && (frame.base == kNoRow || frame.base < static_cast<RowId>(-1 - p))) return false;
      if (p >= 0) {
        const int64_t above = position[static_cast<size_t>(p)];
        position.push_back(above < 0 ? -1 : above + 1);
        continue;
      }
      const RowId parent = parent_of(frame, i);
      if (parent == last()) {
        position.push_back(static_cast<int64_t>(committed.size()));
      } else if (rows[parent].state == 'c') {
        return false;
      } else {
        position.push_back(rows[parent].state == 'd' ? -1 : int64_t{rows[parent].position} + 1);
      }
    }
    const auto n_dead = static_cast<size_t>(std::count(position.begin(), position.end(), -1));
    if (n_dead == frame.n_row) return true;
    if (frame.commit && frame.base != last()) return false;
    if (*std::max_element(position.begin(), position.end()) >= shape_.n_ctx) return false;
    return frame.commit || pending().size() + frame.n_row - n_dead <= shape_.max_pending;
  }

  KvShape shape_;
  uint32_t window_, ring_;
  std::vector<uint32_t> last_at_;  // the position written last, by place in the ring
};

}  // namespace splitd

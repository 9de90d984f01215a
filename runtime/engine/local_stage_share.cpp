// Who gets how much of a batch of local_stage.h. Steps go first, as somebody waits for a token;
// what is left is shared out by computing time. An owner whose steps got it a whole batch ahead of
// one who has to wait is no longer served first: else a prompt cut into steps would take
// everything.
#include <algorithm>
#include <limits>
#include <tuple>

#include "runtime/engine/local_stage.h"

namespace splitd {

static constexpr double kNever = std::numeric_limits<double>::infinity();

// Rows that one at `position` attends to, where it attends to most.
double LocalStage::reach_of(uint32_t position) const {
  return 1.0 + (reach_ == 0 ? position : std::min(position, reach_ - 1));
}

// Bulk chunks share no batch. One of them is the next batch, of whoever had least time, then of
// whose last one is longest ago, unless others have waited for one already or had a batch less of
// time; else they stand aside. True: takes_ is made.
bool LocalStage::take_bulk() {
  if (!backend_.takes_bulk()) return false;
  takes_.assign(wants_.size(), 0);
  size_t next = wants_.size();
  double least_other = kNever;
  const auto turn = [](const StageSession& session) {
    return std::tuple(session.owner->spent_ms, session.owner->bulk_turn, session.bulk_turn);
  };
  for (size_t i = 0; i < wants_.size(); ++i) {
    if (wants_[i] == 0) continue;
    if (!running_[i]->is_bulk()) {
      least_other = std::min(least_other, running_[i]->owner->spent_ms);
    } else if (next == wants_.size() || turn(*running_[i]) < turn(*running_[next])) {
      next = i;
    }
  }
  const bool any = next != wants_.size(), any_other = least_other != kNever;
  const bool is_shared = options_.batch_ms > 0;  // by time; else in turns
  const bool is_ahead =
      any && is_shared && running_[next]->owner->spent_ms > least_other + options_.batch_ms;
  was_bulk_ = any && !(any_other && (was_bulk_ || is_ahead));
  bulk_waits_ = any && is_shared && !was_bulk_;
  if (!was_bulk_) {
    for (size_t i = 0; i < wants_.size(); ++i) {
      if (wants_[i] != 0 && running_[i]->is_bulk()) wants_[i] = 0;
    }
    return false;
  }
  takes_[next] = wants_[next];
  running_[next]->bulk_turn = running_[next]->owner->bulk_turn = ++n_bulk_;
  return true;
}

// Steps that are taken whole. Returns the rows that the batch has left for others.
size_t LocalStage::take_steps() {
  const auto is_step = [this](size_t i) { return wants_[i] > 0 && wants_[i] <= kMostStepRows; };
  double least = kNever;  // of those who have to wait
  for (size_t i = 0; i < wants_.size(); ++i) {
    if (wants_[i] > kMostStepRows) least = std::min(least, running_[i]->owner->spent_ms);
  }
  size_t n_row = 0, n_other = 0;
  for (size_t i = 0; i < wants_.size(); ++i) {
    if (is_step(i) && running_[i]->owner->spent_ms <= least + options_.batch_ms) {
      takes_[i] = wants_[i];
      n_row += wants_[i];
    } else if (wants_[i] > 0) {
      ++n_other;
    }
  }
  size_t room = max_rows_;
  if (options_.batch_ms > 0 && sessions_.size() >= 2) {
    room = std::min(room, std::max(n_row + n_other, paced_rows_));
  }
  if (n_row <= room) return room - n_row;
  takes_.assign(wants_.size(), 0);
  return room;
}

// What owners want beyond that.
void LocalStage::claim_rows() {
  claims_.clear();
  for (StageSession* session : running_) session->owner->claim = StageOwner::kNoClaim;
  for (size_t i = 0; i < wants_.size(); ++i) {
    if (!was_cut_short(i)) continue;
    StageSession& session = *running_[i];
    StageOwner& owner = *session.owner;
    if (owner.claim == StageOwner::kNoClaim) {
      owner.claim = claims_.size();
      owner.n_hungry = 0;
      owner.load = {};
      claims_.push_back({.spent_ms = owner.spent_ms});
    }
    ++owner.n_hungry;
    owner.load += {1, reach_of(session.place(session.left()[0]).position)};
    RowClaim& claim = claims_[owner.claim];
    claim.want += wants_[i];
    claim.row_ms = cost_.ms(owner.load) / owner.load.rows;
  }
}

// Rows of the batch by session.
void LocalStage::share_out() {
  takes_.assign(wants_.size(), 0);
  const size_t room = take_steps();
  claim_rows();
  share_rows(claims_, room);
  // An owner's rows go to its sessions in equal parts; what one does not want is the others'.
  for (bool any = !claims_.empty(); any;) {
    any = false;
    for (size_t i = 0; i < wants_.size(); ++i) {
      if (!was_cut_short(i)) continue;
      StageOwner& owner = *running_[i]->owner;
      size_t& rows = claims_[owner.claim].rows;
      // Rounded up: who comes too late for it is earlier in the next batch.
      const size_t part = (rows + owner.n_hungry - 1) / owner.n_hungry;
      const size_t more = std::min(wants_[i] - takes_[i], part);
      takes_[i] += more;
      rows -= more;
      if (!was_cut_short(i)) --owner.n_hungry;
      any = any || more > 0;
    }
  }
}

// After a batch that was cut short, the next one gets what would have filled its time. At most
// twice or half as much: a batch may have met a cold page or a busy core.
void LocalStage::pace(double ms) {
  last_batch_ = {0, static_cast<uint32_t>(batch_.size()), ms};
  bool cut_short = false;
  for (size_t i = 0; i < wants_.size(); ++i) {
    last_batch_.n_session += takes_[i] > 0 ? 1 : 0;
    cut_short = cut_short || was_cut_short(i);
  }
  if (!cut_short || options_.batch_ms <= 0 || was_bulk_) return;
  const double factor = std::clamp(options_.batch_ms / std::max(ms, 1e-3), 0.5, 2.0);
  const double rows = static_cast<double>(batch_.size()) * factor;
  paced_rows_ = std::clamp<size_t>(static_cast<size_t>(rows), 1, max_rows_);
}

// The batch's time goes to the accounts of those whose rows it computed, by what their rows cost.
// Accounts matter, and are kept, only while somebody has to wait: time that nobody else wanted
// costs nothing, and who wanted little saves up no more than one batch of it.
void LocalStage::charge(bool completed, double ms) {
  const bool was_uneven = is_uneven_;
  is_uneven_ = bulk_waits_;
  for (size_t i = 0; i < running_.size(); ++i) {
    is_uneven_ = is_uneven_ || was_cut_short(i);
    running_[i]->owner->load = {};
  }
  if (!is_uneven_ && !was_uneven) return;
  RowLoad all;
  for (size_t i = 0; i < batch_.size(); ++i) {
    const RowLoad row{1, reach_of(batch_[i].position)};
    origins_[i].session->owner->load += row;
    all += row;
  }
  for (StageSession* session : running_) {
    StageOwner& owner = *session->owner;
    if (all.rows > 0) owner.spent_ms += ms * cost_.ms(owner.load) / cost_.ms(all);
    owner.load = {};
  }
  if (completed && !was_bulk_) cost_.learn(all, ms);  // a chunk's rows cost less than others
  double least = kNever;
  for (size_t i = 0; i < running_.size(); ++i) {
    const StageSession& session = *running_[i];
    const bool is_aside = bulk_waits_ && session.has_current() && session.is_bulk();
    if (was_cut_short(i) || is_aside) least = std::min(least, session.owner->spent_ms);
  }
  for (auto& [name, owner] : owners_) {
    owner.spent_ms = is_uneven_ ? std::max(owner.spent_ms - least, -options_.batch_ms) : 0;
  }
}

}  // namespace splitd

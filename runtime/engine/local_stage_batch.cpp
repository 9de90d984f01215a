// One batch of local_stage.h, from the sessions' requests to their replies. Everything here runs on
// the thread that set computing_; the mutex is held only where other threads may look.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/engine/local_stage.h"
#include "runtime/engine/not_finite.h"

namespace splitd {

// Sessions with work, each in its turn.
void LocalStage::pick_sessions() {
  running_.clear();
  auto at = sessions_.upper_bound(turn_);
  for (size_t i = 0; i < sessions_.size() && running_.size() < max_rows_; ++i, ++at) {
    if (at == sessions_.end()) at = sessions_.begin();
    if (!at->second->wants_turn()) continue;
    at->second->running = true;
    running_.push_back(at->second.get());
    // Who is first now is last in the next batch; where not all fit, it begins with who is left.
    if (running_.size() == 1 || running_.size() == max_rows_) turn_ = at->first;
  }
}

bool LocalStage::step(Lock& lock) {
  if (!may_compute()) return false;
  pick_sessions();
  if (running_.empty()) return false;
  computing_ = true;
  kills_seen_ = kills_.load(std::memory_order_relaxed);

  wants_.clear();
  for (StageSession* session : running_) prepare(*session, lock);
  if (!take_bulk()) share_out();
  lock.unlock();
  batch_.clear();
  origins_.clear();
  paths_.clear();
  path_begin_.clear();
  for (size_t i = 0; i < running_.size(); ++i) add_rows(*running_[i], takes_[i]);
  for (size_t i = 0; i < batch_.size(); ++i) batch_[i].path = paths_.data() + path_begin_[i];
  const auto begin = options_.now();
  const bool completed = batch_.empty() || compute();
  const std::chrono::duration<double, std::milli> ms = options_.now() - begin;
  lock.lock();
  if (completed) pace(ms.count());
  charge(completed, ms.count());
  settle(completed);
  std::vector<std::unique_ptr<StageSession>> ended;
  ended.swap(closing_);
  for (const auto& session : ended) leave_owner(*session);
  computing_ = false;
  changed_.notify_all();
  if (!ended.empty()) {
    lock.unlock();
    ended.clear();
    lock.lock();
  }
  return true;
}

// Makes the session's next request with rows to compute the current one; those before it are
// answered.
void LocalStage::prepare(StageSession& session, Lock& lock) {
  while (!session.closed) {
    if (!session.has_current()) {
      if (!session.has_work()) break;
      session.take_next();
      lock.unlock();
      backend_.move_rows(session.kv(), session.begin());
      lock.lock();
    }
    if (const size_t left = session.count_left(); left > 0) {
      wants_.push_back(left);
      return;
    }
    session.finish();
    changed_.notify_all();
  }
  wants_.push_back(0);
}

void LocalStage::add_rows(StageSession& session, size_t n_row) {
  if (n_row == 0) return;
  const bool bulk = backend_.takes_bulk() && session.is_bulk();
  const uint32_t n_unread = session.n_unread();
  for (const uint32_t row : session.left().first(n_row)) {
    const RowPlace& place = session.place(row);
    const uint32_t n_committed = session.back().n_committed();
    const bool pending = place.position >= n_committed;
    batch_.push_back({.kv = &session.kv(),
                      .position = place.position,
                      .slot = place.slot,
                      .n_committed = pending ? n_committed : place.position + 1,
                      .bulk = bulk,
                      .is_read = row >= n_unread});
    origins_.push_back({&session, row});
    path_begin_.push_back(paths_.size());
    if (!pending) continue;
    paths_.resize(paths_.size() + place.position + 1 - n_committed);
    session.back().pending_path(place.id, std::span(paths_).subspan(path_begin_.back()));
  }
}

// The batch's rows through the layers, in and out of their entries. False: abandoned, all are dead.
bool LocalStage::compute() {
  const size_t bytes = d_model_ * sizeof(float);
  float* hidden = hidden_.floats(batch_.size() * d_model_);
  const auto entry_row = [this](const Origin& from) {
    return from.session->current().rows.data() + from.row * d_model_;
  };
  for (size_t i = 0; i < origins_.size(); ++i) {
    std::memcpy(hidden + i * d_model_, entry_row(origins_[i]), bytes);
  }
  const LayerRange layers = backend_.layers();
  if (layers.begin != layers.end && !backend_.forward(batch_, hidden, layers, go_on_)) return false;
  for (size_t i = 0; i < origins_.size(); ++i) {
    float* row = hidden + i * d_model_;
    if (first_not_finite({row, d_model_}) != d_model_) check_broken(i, entry_row(origins_[i]));
    std::memcpy(entry_row(origins_[i]), row, bytes);
  }
  return true;
}

bool LocalStage::is_alive(const Origin& row) const {
  return !row.session->closed && row.session->is_live(row.session->place(row.row).id);
}

// Asked before every layer. Takes the mutex only when rows died somewhere since it did last.
bool LocalStage::any_alive() {
  const uint64_t kills = kills_.load(std::memory_order_acquire);
  if (kills == kills_seen_) return true;
  kills_seen_ = kills;
  const Lock lock(mutex_);
  return std::any_of(origins_.begin(), origins_.end(),
                     [this](const Origin& row) { return is_alive(row); });
}

// A row came out that is not finite; `input` is what went in. Its request is broken, unless the row
// is wanted no more.
void LocalStage::check_broken(size_t i, const float* input) {
  StageSession& session = *origins_[i].session;
  if (session.is_broken()) return;
  {
    const Lock lock(mutex_);
    if (!is_alive(origins_[i])) return;
  }
  const uint32_t row = origins_[i].row;
  const RowPlace& place = session.place(row);
  const std::string name = "row " + std::to_string(row) + " of the request (id " +
                           std::to_string(place.id) + ", position " +
                           std::to_string(place.position) + ")";
  session.break_current(
      name_broken_layer(backend_, backend_.layers(), batch_[i], name, {input, d_model_}));
}

// After the batch: who is through gets a reply.
void LocalStage::settle(bool completed) {
  for (size_t i = 0; i < running_.size(); ++i) {
    StageSession& session = *running_[i];
    session.running = false;
    if (session.closed || !session.has_current()) continue;
    if (completed) session.mark_computed(takes_[i]);
    if (session.count_left() == 0) session.finish();
  }
}

}  // namespace splitd

// Sessions, and who computes when, behind local_stage.h. Copies of rows are made under the mutex:
// a copy takes a thousandth of the time that the rows take to compute.
#include "runtime/engine/local_stage.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/not_finite.h"

namespace splitd {

using Clock = std::chrono::steady_clock;

LocalStage::LocalStage(Backend& backend, LocalStageOptions options)
    : backend_(backend),
      options_(options),
      d_model_(backend.config().d_model),
      max_rows_(std::clamp(backend.max_rows(), 1u, kWindowSlack)),
      go_on_([this] { return any_alive(); }) {
  bool reaches_all = backend.layers().begin == backend.layers().end;
  for (uint32_t i = backend.layers().begin; i < backend.layers().end; ++i) {
    const auto window =
        static_cast<uint32_t>(std::min<uint64_t>(backend.config().layers[i].window, kNoRow));
    if (window != 0 && (window_ == 0 || window < window_)) window_ = window;
    reaches_all = reaches_all || window == 0;
    reach_ = std::max(reach_, window);
  }
  if (reaches_all) reach_ = 0;
}

LocalStage::~LocalStage() = default;

StageSession* LocalStage::find(SessionId session) const {
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? nullptr : at->second.get();
}

static Error no_session(SessionId session) {
  return usage_error("session " + std::to_string(session) + " does not exist");
}

Result<SessionId> LocalStage::open(const KvShape& shape) {
  return open(shape, {});
}

// Requires the mutex.
StageOwner& LocalStage::owner_of(std::string_view name) {
  const auto at = owners_.find(name);
  return at != owners_.end() ? at->second : owners_[std::string(name)];
}

// Requires the mutex.
void LocalStage::leave_owner(StageSession& session) {
  if (--session.owner->n_session > 0) return;
  std::erase_if(owners_, [&](const auto& item) { return &item.second == session.owner; });
}

Result<SessionId> LocalStage::open(const KvShape& shape, std::string_view owner) {
  constexpr uint32_t kMost = std::numeric_limits<int32_t>::max();
  if (shape.n_ctx == 0 || shape.n_ctx > kMost || shape.max_pending > kMost - shape.n_ctx) {
    return usage_error("a session of " + std::to_string(shape.n_ctx) + " rows and " +
                       std::to_string(shape.max_pending) + " pending ones: 1 to " +
                       std::to_string(kMost) + " in all are accepted");
  }
  Lock lock(mutex_);
  ++n_opening_;
  changed_.wait(lock, [this] { return !computing_; });
  --n_opening_;
  computing_ = true;  // the backend takes one call at a time
  lock.unlock();
  Result<std::unique_ptr<Kv>> kv = backend_.make_kv(shape);
  std::unique_ptr<StageSession> session;
  if (kv.ok()) {
    session = std::make_unique<StageSession>(shape, static_cast<uint32_t>(d_model_), window_,
                                             std::move(*kv));
  }
  lock.lock();
  computing_ = false;
  changed_.notify_all();
  if (!kv.ok()) return kv.take_error();
  ++last_session_;
  session->owner =
      &owner_of(owner.empty() ? "#" + std::to_string(last_session_) : std::string(owner));
  ++session->owner->n_session;
  sessions_.emplace(last_session_, std::move(session));
  return last_session_;
}

// What can be said about a request without its session.
Status LocalStage::check_content(const StageRequest& request) const {
  const uint32_t n_row = request.timeline.append ? request.timeline.append->n_row : 0;
  if (n_row > kMostFrameRows) {
    return usage_error("a frame of " + std::to_string(n_row) + " rows; at most " +
                       std::to_string(kMostFrameRows) + " are accepted");
  }
  if (request.rows.size() != n_row * d_model_) {
    return usage_error("rows: " + std::to_string(request.rows.size()) + " values for " +
                       std::to_string(n_row) + " rows of " + std::to_string(d_model_));
  }
  const size_t bad = first_not_finite(request.rows);
  if (bad == request.rows.size()) return {};
  return usage_error("rows: row " + std::to_string(bad / d_model_) + ", column " +
                     std::to_string(bad % d_model_) + " is not finite");
}

Status LocalStage::submit(SessionId id, const StageRequest& request) {
  return accept(id, request, check_content(request));
}

Status LocalStage::submit_refused(SessionId id, const StageRequest& request, Error why) {
  return accept(id, request, std::move(why));
}

Status LocalStage::accept(SessionId id, const StageRequest& request, const Status& content) {
  Lock lock(mutex_);
  StageSession* session = find(id);
  if (session == nullptr) return no_session(id);
  SPLITD_ASSIGN(const bool killed, session->accept(request, content));
  if (killed) kills_.fetch_add(1, std::memory_order_release);
  changed_.notify_all();
  return {};
}

Status LocalStage::next(SessionId id, Deadline deadline, StageReply& reply) {
  Lock lock(mutex_);
  while (true) {
    StageSession* session = find(id);
    if (session == nullptr) return no_session(id);
    if (session->reply_ready()) {
      session->give(reply);
      return {};
    }
    if (Clock::now() >= deadline) return no_reply_yet();
    if (may_compute() && session->has_work()) {
      step(lock);
    } else {
      changed_.wait_until(lock, deadline);
    }
  }
}

bool LocalStage::try_next(SessionId id, StageReply& reply) {
  const Lock lock(mutex_);
  StageSession* session = find(id);
  if (session == nullptr || !session->reply_ready()) return false;
  session->give(reply);
  return true;
}

void LocalStage::disown(SessionId id) {
  const Lock lock(mutex_);
  if (StageSession* session = find(id)) session->disown();
}

void LocalStage::hold(SessionId id, bool held) {
  const Lock lock(mutex_);
  StageSession* session = find(id);
  if (session == nullptr || session->held == held) return;
  session->held = held;
  if (!held) changed_.notify_all();
}

void LocalStage::close(SessionId id) {
  std::unique_ptr<StageSession> ended;  // freed after the mutex
  const Lock lock(mutex_);
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return;
  if (at->second->running) {
    at->second->closed = true;
    closing_.push_back(std::move(at->second));
    kills_.fetch_add(1, std::memory_order_release);
  } else {
    leave_owner(*at->second);
    ended = std::move(at->second);
  }
  sessions_.erase(at);
  changed_.notify_all();
}

bool LocalStage::any_work() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const auto& item) { return item.second->wants_turn(); });
}

bool LocalStage::wait_for_work(Deadline deadline) {
  Lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return may_compute() && any_work(); });
}

bool LocalStage::step() {
  Lock lock(mutex_);
  return step(lock);
}

}  // namespace splitd

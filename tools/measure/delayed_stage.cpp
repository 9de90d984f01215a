#include "tools/measure/delayed_stage.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace splitd::cli {
namespace {

using Clock = std::chrono::steady_clock;

Clock::duration from_ms(double ms) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms));
}

double to_ms(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

LinkUse DelayedStage::use() const {
  const std::lock_guard lock(mutex_);
  LinkUse use = use_;
  use.rtt_ms = link_.rtt_ms;
  return use;
}

Clock::duration DelayedStage::on_line(uint64_t n_byte) const {
  return link_.mbit > 0 ? from_ms(static_cast<double>(n_byte) * 8 / (link_.mbit * 1e3))
                        : Clock::duration::zero();
}

DelayedStage::Trip* DelayedStage::oldest(SessionId session, bool is_back) {
  for (const auto& trip : trips_) {
    if (trip->session == session && trip->is_back == is_back) return trip.get();
  }
  return nullptr;
}

Status DelayedStage::submit(SessionId session, const StageRequest& request) {
  const std::lock_guard lock(mutex_);
  SPLITD_TRY(inner_->submit(session, request));
  const uint32_t n_row = request.timeline.append ? request.timeline.append->n_row : 0;
  auto trip = std::make_unique<Trip>();
  trip->session = session;
  trip->submitted = Clock::now();
  trip->bytes_up = frame_bytes(n_row);
  trip->alone = trips_.empty();
  if (!trips_.empty()) trips_.back()->alone = false;
  up_free_ = std::max(trip->submitted, up_free_) + on_line(trip->bytes_up);
  trip->there = up_free_;
  trips_.push_back(std::move(trip));
  return {};
}

// The next reply of the stage inside, and when it would be here.
Status DelayedStage::fetch(SessionId session, Deadline deadline) {
  StageReply reply;
  const Clock::time_point asked = Clock::now();
  SPLITD_TRY(inner_->next(session, deadline, reply));
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  Trip* const trip = oldest(session, false);
  if (trip == nullptr) return failed("a reply that nobody asked for");
  Clock::time_point done = now;
  if (kind_ == Inner::computes_in_next) {
    reply.body_ms = to_ms(now - asked);
    body_free_ = std::max(trip->there, body_free_) + (now - asked);
    done = body_free_;
  } else {
    done += trip->there - trip->submitted;
  }
  reply.bytes_up = trip->bytes_up;
  reply.bytes_down = frame_bytes(reply.ids.size());
  down_free_ = std::max(done, down_free_) + on_line(reply.bytes_down);
  trip->due = down_free_ + from_ms(link_.rtt_ms);
  trip->reply = std::move(reply);
  trip->is_back = true;
  return {};
}

Status DelayedStage::next(SessionId session, Deadline deadline, StageReply& reply) {
  const auto waiting = [&](bool is_back) {
    const std::lock_guard lock(mutex_);
    return oldest(session, is_back) != nullptr;
  };
  if (kind_ == Inner::computes_in_next) {
    // All of it, while the first reply is on its way.
    while (waiting(false)) SPLITD_TRY(fetch(session, deadline));
  } else if (!waiting(true)) {
    SPLITD_TRY(fetch(session, deadline));
  }
  Clock::time_point due;
  {
    const std::lock_guard lock(mutex_);
    const Trip* const trip = oldest(session, true);
    if (trip == nullptr) return inner_->next(session, deadline, reply);  // it says what is wrong
    due = trip->due;
  }
  std::this_thread::sleep_until(std::min(due, deadline));
  if (due > deadline) return no_reply_yet();
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(trips_.begin(), trips_.end(), [&](const auto& trip) {
    return trip->session == session && trip->is_back;
  });
  const Trip& trip = **at;
  use_.bytes_up += trip.reply.bytes_up;
  use_.bytes_down += trip.reply.bytes_down;
  if (trip.alone) {
    ++use_.n_step;
    use_.step_ms += to_ms(Clock::now() - trip.submitted);
    use_.body_ms += trip.reply.body_ms;
  }
  std::swap(reply, (*at)->reply);
  trips_.erase(at);
  return {};
}

void DelayedStage::close(SessionId session) {
  inner_->close(session);
  const std::lock_guard lock(mutex_);
  std::erase_if(trips_, [&](const auto& trip) { return trip->session == session; });
}

}  // namespace splitd::cli

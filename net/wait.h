// Owns: how long a call may block, and who may end it early. Nothing in net/ blocks without a Wait.
// Cancellation is thread-safe, and cancel() may be called from a signal handler.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/result.h"

namespace splitd::net {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Once cancelled it stays so. Every blocking call that was given it returns at once with an
// ErrorKind::interrupted.
class Cancellation {
 public:
  Cancellation();
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void cancel() noexcept;
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  int fd() const { return event_.get(); }  // readable once cancelled; -1 if the system gave none

 private:
  std::atomic<bool> cancelled_{false};
  FileDescriptor event_;
};

struct Wait {
  Clock::time_point until = Clock::time_point::max();
  const Cancellation* cancel = nullptr;

  static Wait for_at_most(milliseconds time, const Cancellation* cancel = nullptr) {
    return {Clock::now() + time, cancel};
  }
  // The earlier of this and `time` from now.
  Wait at_most(milliseconds time) const {
    const Clock::time_point soon = Clock::now() + time;
    return {soon < until ? soon : until, cancel};
  }
  bool cancelled() const { return cancel != nullptr && cancel->cancelled(); }
};

enum class Ready : uint8_t { yes, timed_out, cancelled };

// Blocks until one of the descriptors has an event (their revents are set), at most 15 of them.
[[nodiscard]] Result<Ready> poll_until(std::span<pollfd> descriptors, const Wait& wait);

// Blocks until the descriptor has one of `events` or an error. `what` begins the message of a
// failure: "reading from host:443".
[[nodiscard]] Status wait_for(int fd, short events, const Wait& wait, std::string_view what);

// Sleeps the whole time, or is interrupted, or fails because `wait` ends earlier.
[[nodiscard]] Status sleep_for(milliseconds time, const Wait& wait);

[[nodiscard]] inline Error interrupted(std::string_view what) {
  return {ErrorKind::interrupted, std::string(what) + ": interrupted"};
}
[[nodiscard]] inline Error timed_out(std::string_view what) {
  return peer_error(std::string(what) + ": timed out");
}

}  // namespace splitd::net

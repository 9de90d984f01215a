// Blocking, built on poll() alone: the cancellation's descriptor is always one of those polled.
#include "net/wait.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace splitd::net {

Cancellation::Cancellation() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Cancellation::cancel() noexcept {
  cancelled_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  // A full counter is as readable as any other; nothing else can fail.
  if (event_.valid()) (void)!::write(event_.get(), &one, sizeof one);
}

Result<Ready> poll_until(std::span<pollfd> descriptors, const Wait& wait) {
  // Without a descriptor of its own a cancellation is looked for this often.
  constexpr int kBlindSlice = 100;
  std::array<pollfd, 16> all{};
  const size_t count = std::min(descriptors.size(), all.size() - 1);
  std::copy_n(descriptors.begin(), count, all.begin());
  const bool watch = wait.cancel != nullptr && wait.cancel->fd() >= 0;
  if (watch) all[count] = {wait.cancel->fd(), POLLIN, 0};
  while (true) {
    if (wait.cancelled()) return Ready::cancelled;
    int timeout = -1;
    if (wait.until != Clock::time_point::max()) {
      const Clock::time_point now = Clock::now();
      const auto left = std::chrono::ceil<milliseconds>(std::max(wait.until, now) - now).count();
      timeout = static_cast<int>(std::min<int64_t>(left, 1'000'000'000));
    }
    const bool blind = wait.cancel != nullptr && !watch;
    const int slice = blind && (timeout < 0 || timeout > kBlindSlice) ? kBlindSlice : timeout;
    const int ready = ::poll(all.data(), count + (watch ? 1 : 0), slice);
    if (ready < 0 && errno != EINTR) return system_error("poll");
    if (wait.cancelled()) return Ready::cancelled;
    if (ready > 0) {
      std::copy_n(all.begin(), count, descriptors.begin());
      return Ready::yes;
    }
    if (timeout >= 0 && Clock::now() >= wait.until) return Ready::timed_out;
  }
}

Status wait_for(int fd, short events, const Wait& wait, std::string_view what) {
  pollfd descriptor{fd, events, 0};
  SPLITD_ASSIGN(const Ready ready, poll_until({&descriptor, 1}, wait));
  if (ready == Ready::cancelled) return interrupted(what);
  if (ready == Ready::timed_out) return timed_out(what);
  return {};
}

Status sleep_for(milliseconds time, const Wait& wait) {
  const Wait nap = wait.at_most(time);
  SPLITD_ASSIGN(const Ready ready, poll_until({}, nap));
  if (ready == Ready::cancelled) return interrupted("waiting");
  if (nap.until == wait.until) return timed_out("waiting");
  return {};
}

}  // namespace splitd::net

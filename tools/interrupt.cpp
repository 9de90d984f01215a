#include "tools/interrupt.h"

#include <signal.h>

#include <atomic>
#include <mutex>

namespace splitd::cli {
namespace {

std::atomic<bool> was_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler writes it");

void remember(int) {
  was_interrupted.store(true);
}

// The next SIGINT is remembered, the one after it kills.
void arm() {
  struct sigaction before {};
  ::sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;  // nohup, a background job: stay deaf
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

}  // namespace

void watch_interrupts() {
  static std::once_flag once;
  std::call_once(once, arm);
}

void forget_interrupt() {
  if (!was_interrupted.exchange(false)) return;
  arm();
}

bool interrupted() {
  return was_interrupted.load(std::memory_order_relaxed);
}

}  // namespace splitd::cli

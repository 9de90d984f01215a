#include "tests/lab/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace splitd::lab {

Status Mailbox::start(std::function<void()> body) {
  wake_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake_.valid()) return system_error("eventfd");
  owned_ = true;
  thread_ = std::thread([this, body = std::move(body)] {
    body();
    const std::lock_guard lock(mutex_);  // who comes later finds nobody and runs it itself
    owned_ = false;
    for (const std::function<void()>* function : calls_) (*function)();
    done_ += calls_.size();
    calls_.clear();
    done_changed_.notify_all();
  });
  return {};
}

void Mailbox::stop() {
  stopping_.store(true, std::memory_order_release);
  if (!thread_.joinable()) return;
  wake();
  thread_.join();
}

void Mailbox::wake() const {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
}

void Mailbox::call(const std::function<void()>& function) {
  std::unique_lock lock(mutex_);
  if (!owned_) return function();
  calls_.push_back(&function);
  const uint64_t ticket = ++posted_;
  pending_.store(true, std::memory_order_release);
  wake();
  done_changed_.wait(lock, [&] { return done_ >= ticket; });
}

void Mailbox::run_pending() {
  if (!pending_.load(std::memory_order_acquire)) return;
  std::vector<const std::function<void()>*> calls;
  {
    const std::lock_guard lock(mutex_);
    uint64_t ignored = 0;
    [[maybe_unused]] const ssize_t count = ::read(wake_.get(), &ignored, sizeof ignored);
    calls.swap(calls_);
    pending_.store(false, std::memory_order_release);
  }
  for (const std::function<void()>* function : calls) (*function)();
  const std::lock_guard lock(mutex_);
  done_ += calls.size();
  done_changed_.notify_all();
}

}  // namespace splitd::lab

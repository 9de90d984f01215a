// Owns: passing the user's interrupt on to work that another call ends: a signal handler could not.
// Lives as long as the work.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "tools/command.h"

namespace splitd::cli {

class CancelWatch {
 public:
  CancelWatch(const Context& context, std::function<void()> cancel)
      : thread_([this, &context, cancel = std::move(cancel)] {
          std::unique_lock lock(mutex_);
          while (!done_) {
            // Again and again: what is cancelled before it runs does not notice.
            if (context.cancelled()) cancel();
            ended_.wait_for(lock, std::chrono::milliseconds(20));
          }
        }) {}
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;
  ~CancelWatch() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;   // guarded by mutex_
  std::thread thread_;  // last: it uses the others
};

}  // namespace splitd::cli

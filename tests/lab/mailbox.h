// Owns: calls that other threads want made on the thread that owns some state, so that the state
// needs no lock and its thread is never held up by one. call() may come from any thread but the
// owner's; while nobody owns (before start, after the join) it runs where it is called.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/files.h"

namespace splitd::lab {

class Mailbox {
 public:
  ~Mailbox() { stop(); }

  // `body` runs on a new thread, the owner, until is_stopping().
  Status start(std::function<void()> body);
  void stop();  // asks for the end and joins

  void call(const std::function<void()>& function);  // returns once it was made

  // --- Owner's thread
  int fd() const { return wake_.get(); }  // readable when there is something to do
  void run_pending();                     // cheap when there is nothing
  bool is_stopping() const { return stopping_.load(std::memory_order_acquire); }

 private:
  void wake() const;

  FileDescriptor wake_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> pending_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable done_changed_;
  std::vector<const std::function<void()>*> calls_;
  uint64_t posted_ = 0;
  uint64_t done_ = 0;
  bool owned_ = false;
};

}  // namespace splitd::lab

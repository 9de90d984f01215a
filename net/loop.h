// Owns: the event loop (epoll): descriptors, timers, a wake-up from other threads. Nothing is
// allocated per event. All calls belong to the loop's thread, except where "any thread" is said;
// before run() the thread that builds it counts as the loop's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "net/wait.h"

namespace splitd::net {

class Loop;

// What a descriptor became. `hangup` comes with errors too: a read says which.
struct Readiness {
  bool readable = false;
  bool writable = false;
  bool hangup = false;
};

// Registered by address: it must outlive its registration.
struct Watch {
  void (*ready)(Watch& watch, Readiness readiness) = nullptr;
  void* owner = nullptr;
  int fd = -1;
};

// Registered by address. Setting one costs O(log n); cancelling too.
struct Timer {
  void (*fire)(Timer& timer) = nullptr;
  void* owner = nullptr;
  Clock::time_point at;
  static constexpr size_t kIdle = SIZE_MAX;
  size_t slot = kIdle;  // the loop's
  bool pending() const { return slot != kIdle; }
};

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] Status add(Watch& watch, bool readable, bool writable);
  // Any thread, as long as the watch stays registered.
  void change(const Watch& watch, bool readable, bool writable);
  // No callback of the watch comes after this, not even one of the round under way.
  void remove(Watch& watch);

  void set(Timer& timer, Clock::time_point at);  // moves one that is pending
  void cancel(Timer& timer);

  // Any thread: runs `task` on the loop's thread, in order. For what is rare: it allocates.
  void post(std::function<void()> task);

  // Until stop(); an error is the system's.
  [[nodiscard]] Status run();
  void stop();                                    // any thread
  Clock::time_point now() const { return now_; }  // when this round began

 private:
  Loop() = default;
  void wake();
  int timeout() const;
  void fire_timers();
  void run_posted();
  void sift_up(size_t slot);
  void sift_down(size_t slot);

  FileDescriptor epoll_;
  FileDescriptor event_;
  Clock::time_point now_ = Clock::now();
  std::vector<Timer*> heap_;         // by `at`
  std::array<Watch*, 256> round_{};  // watches with events in this round; removed ones are null
  size_t round_size_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> woken_{false};
  std::mutex mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
};

// A loop on a thread of its own, stopped and joined on destruction.
class LoopThread {
 public:
  static Result<std::unique_ptr<LoopThread>> start();
  ~LoopThread();
  Loop& loop() { return *loop_; }
  // Runs `task` on the loop's thread and returns when it is done. Not from that thread.
  void run_and_wait(const std::function<void()>& task);

 private:
  LoopThread() = default;
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace splitd::net

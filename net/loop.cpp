// epoll, level-triggered; timers in a binary heap whose entries know their slot.
#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <system_error>

namespace splitd::net {
namespace {

uint32_t interest(bool readable, bool writable) {
  // Without any interest the system would still report a hangup, again and again: edge-triggered,
  // it does so once.
  if (!readable && !writable) return EPOLLET;
  return (readable ? static_cast<uint32_t>(EPOLLIN) : 0u) |
         (writable ? static_cast<uint32_t>(EPOLLOUT) : 0u);
}

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create() {
  std::unique_ptr<Loop> loop(new Loop());
  loop->epoll_ = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.valid()) return system_error("epoll");
  loop->event_ = FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->event_.valid()) return system_error("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the wake-up
  if (::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->event_.get(), &event) != 0) {
    return system_error("epoll");
  }
  return loop;
}

Loop::~Loop() = default;

Status Loop::add(Watch& watch, bool readable, bool writable) {
  epoll_event event{};
  event.events = interest(readable, writable);
  event.data.ptr = &watch;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watch.fd, &event) != 0) return system_error("epoll");
  return {};
}

void Loop::change(const Watch& watch, bool readable, bool writable) {
  epoll_event event{};
  event.events = interest(readable, writable);
  event.data.ptr = const_cast<Watch*>(&watch);
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watch.fd, &event);  // cannot fail once added
}

void Loop::remove(Watch& watch) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch.fd, nullptr);
  for (size_t i = 0; i < round_size_; ++i) {
    if (round_[i] == &watch) round_[i] = nullptr;
  }
}

// --- Timers

void Loop::sift_up(size_t slot) {
  Timer* const timer = heap_[slot];
  while (slot > 0) {
    const size_t parent = (slot - 1) / 2;
    if (heap_[parent]->at <= timer->at) break;
    heap_[slot] = heap_[parent];
    heap_[slot]->slot = slot;
    slot = parent;
  }
  heap_[slot] = timer;
  timer->slot = slot;
}

void Loop::sift_down(size_t slot) {
  Timer* const timer = heap_[slot];
  while (true) {
    size_t child = 2 * slot + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->at < heap_[child]->at) ++child;
    if (timer->at <= heap_[child]->at) break;
    heap_[slot] = heap_[child];
    heap_[slot]->slot = slot;
    slot = child;
  }
  heap_[slot] = timer;
  timer->slot = slot;
}

void Loop::set(Timer& timer, Clock::time_point at) {
  timer.at = at;
  if (!timer.pending()) {
    timer.slot = heap_.size();
    heap_.push_back(&timer);
  }
  sift_up(timer.slot);
  sift_down(timer.slot);
}

void Loop::cancel(Timer& timer) {
  if (!timer.pending()) return;
  const size_t slot = timer.slot;
  timer.slot = Timer::kIdle;
  Timer* const last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  heap_[slot] = last;
  last->slot = slot;
  sift_up(slot);
  sift_down(last->slot);
}

void Loop::fire_timers() {
  // Each at most once a round: one that sets itself again for now cannot hold the loop.
  for (size_t left = heap_.size(); left > 0; --left) {
    if (heap_.empty() || heap_.front()->at > now_) return;
    Timer& timer = *heap_.front();
    cancel(timer);
    timer.fire(timer);
    if (stopping_.load(std::memory_order_relaxed)) return;
  }
}

int Loop::timeout() const {
  if (heap_.empty()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(heap_.front()->at - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000'000));
}

// --- Other threads

void Loop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
  }
  wake();
}

void Loop::wake() {
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  (void)!::write(event_.get(), &one, sizeof one);
}

void Loop::run_posted() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (std::function<void()>& task : tasks) task();
}

void Loop::stop() {
  stopping_.store(true, std::memory_order_release);
  wake();
}

Status Loop::run() {
  std::array<epoll_event, 256> events;
  static_assert(std::tuple_size_v<decltype(events)> == std::tuple_size_v<decltype(round_)>);
  while (!stopping_.load(std::memory_order_acquire)) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout());
    if (count < 0 && errno != EINTR) return system_error("epoll");
    now_ = Clock::now();
    round_size_ = static_cast<size_t>(std::max(count, 0));
    bool woken = false;
    for (size_t i = 0; i < round_size_; ++i) {
      round_[i] = static_cast<Watch*>(events[i].data.ptr);
      woken = woken || round_[i] == nullptr;
    }
    for (size_t i = 0; i < round_size_; ++i) {
      Watch* const watch = round_[i];
      if (watch == nullptr) continue;  // the wake-up, or removed by a callback before this one
      const uint32_t bits = events[i].events;
      watch->ready(*watch, {(bits & EPOLLIN) != 0, (bits & EPOLLOUT) != 0,
                            (bits & (EPOLLHUP | EPOLLERR)) != 0});
    }
    round_size_ = 0;
    if (woken) {
      uint64_t ignored = 0;
      (void)!::read(event_.get(), &ignored, sizeof ignored);
      woken_.store(false, std::memory_order_release);
      run_posted();
    }
    fire_timers();
  }
  stopping_.store(false, std::memory_order_release);
  return {};
}

Result<std::unique_ptr<LoopThread>> LoopThread::start() {
  std::unique_ptr<LoopThread> out(new LoopThread());
  SPLITD_ASSIGN(out->loop_, Loop::create());
  try {
    out->thread_ = std::thread([loop = out->loop_.get()] { (void)loop->run(); });
  } catch (const std::system_error& error) {
    return failed(std::string("cannot start a thread: ") + error.what());
  }
  return out;
}

void LoopThread::run_and_wait(const std::function<void()>& task) {
  std::mutex mutex;
  std::condition_variable done;
  bool ran = false;
  loop_->post([&] {
    task();
    const std::lock_guard lock(mutex);
    ran = true;
    done.notify_one();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return ran; });
}

LoopThread::~LoopThread() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

}  // namespace splitd::net

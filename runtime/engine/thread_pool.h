// Owns: the threads that compute. One pool per process is the intent: both ends of a split often
// share a machine, and threads that spin at barriers take the cores from each other. Work is cut
// into pieces that threads claim one by one, so a thread that the system has put aside holds up at
// most the piece it is in. A thread without work spins a few microseconds, then sleeps.
// run() is called by one thread at a time; it allocates nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace splitd {

class ThreadPool {
 public:
  // The thread that calls run() is one of the n_thread (at least 1).
  explicit ThreadPool(uint32_t n_thread);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  uint32_t n_thread() const { return static_cast<uint32_t>(workers_.size()) + 1; }

  // work(piece, thread) for every piece in 0 … n_piece−1, in any order, each once; returns when all
  // are done, and what they wrote is visible then. `thread` is 0 … n_thread−1, for scratch memory.
  template <class Work>
  void run(uint32_t n_piece, const Work& work) {
    static_assert(std::is_invocable_v<const Work&, uint32_t, uint32_t>);
    run_pieces(
        n_piece,
        [](const void* w, uint32_t piece, uint32_t thread) {
          (*static_cast<const Work*>(w))(piece, thread);
        },
        &work);
  }

 private:
  using Call = void (*)(const void* work, uint32_t piece, uint32_t thread);

  void run_pieces(uint32_t n_piece, Call call, const void* work);
  void worker(uint32_t thread);
  void claim_pieces(uint32_t thread);

  // A job is published by a new epoch. `next_` holds the epoch's low half in its upper 32 bits, so
  // a thread that comes late to a finished job cannot claim a piece of the one after it.
  std::atomic<uint32_t> epoch_{0};
  std::atomic<uint64_t> next_{0};
  std::atomic<uint32_t> left_{0};      // pieces not finished yet
  std::atomic<uint32_t> sleeping_{0};  // workers in a futex wait
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  // Written before the epoch, read after it. Atomic since a late thread may read while the caller
  // writes the next job; it then fails to claim and uses nothing of what it read.
  std::atomic<uint32_t> n_piece_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> work_{nullptr};
  std::vector<std::thread> workers_;
};

}  // namespace splitd

// Owns: the threads that compute. One pool per process is the intent: both ends of a split often
// share a machine, and threads that spin at barriers take the cores from each other. Work is cut
// into pieces. Each thread begins with a part of its own and takes its pieces in order, as memory
// is read best; whoever is done takes half of what another has left. So a thread that the system
// has put aside holds up at most the piece it is in. A thread without work spins some
// microseconds, then sleeps.
// run() is called by one thread at a time; it allocates nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
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

  // A line of the cache for each thread, so that counting disturbs nobody.
  struct alignas(64) Part {
    // The job, 24 bits; the pieces not yet taken, begin and end, 20 bits each. The owner takes the
    // first, others cut off the end; only the owner writes to a part that is empty.
    std::atomic<uint64_t> left{0};
    std::atomic<uint32_t> done{0};  // pieces finished, of this job
  };

  void run_pieces(uint32_t n_piece, Call call, const void* work);
  void run_batch(uint32_t first, uint32_t n_piece);
  void worker(uint32_t thread);
  void take_part(uint32_t thread);
  bool take_piece(uint64_t job, Part& part, uint32_t& piece);
  bool take_half(uint64_t job, uint32_t thread, uint32_t& piece);
  uint32_t n_done() const;

  std::vector<Part> parts_;
  // The job whose parts are all written. A thread that comes late finds the parts of its job empty
  // or of another job, and touches neither.
  std::atomic<uint32_t> job_{0};
  std::atomic<uint32_t> sleeping_{0};       // workers in a futex wait
  std::atomic<uint32_t> caller_sleeps_{0};  // 1: it waits to be told that all pieces are done
  std::atomic<bool> stop_{false};
  // What the job is: written before its parts, read by those who have taken a piece of it.
  uint32_t n_piece_ = 0;
  uint32_t first_piece_ = 0;
  Call call_ = nullptr;
  const void* work_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace splitd

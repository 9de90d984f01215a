#include "runtime/engine/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace splitd {
namespace {

class Threads : public testing::TestWithParam<uint32_t> {};

TEST_P(Threads, EveryPieceRunsOnceAndIsSeen) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.n_thread(), std::max(1u, GetParam()));
  // Many short jobs of changing length: a late thread meets the next job, sleepers are woken.
  for (uint32_t job = 0; job < 3000; ++job) {
    const uint32_t n_piece = job % 7 == 0 ? 0 : job % 61;
    std::vector<uint32_t> runs(n_piece, 0);
    std::vector<uint32_t> by_thread(pool.n_thread(), 0);
    pool.run(n_piece, [&](uint32_t piece, uint32_t thread) {
      runs[piece] += 1;
      by_thread[thread] += 1;
    });
    ASSERT_EQ(runs, std::vector<uint32_t>(n_piece, 1));
    ASSERT_EQ(std::accumulate(by_thread.begin(), by_thread.end(), 0u), n_piece);
  }
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(0, 1, 2, 3, 8));

TEST(ThreadPool, OtherThreadsTakePart) {
  ThreadPool pool(4);
  // Each of four pieces waits for the other three: only four threads at once get through.
  std::atomic<uint32_t> inside{0};
  pool.run(4, [&](uint32_t, uint32_t) {
    inside.fetch_add(1);
    while (inside.load() < 4) std::this_thread::yield();
  });
  EXPECT_EQ(inside.load(), 4u);
}

TEST(ThreadPool, AThreadThatStandsStillHoldsUpOnlyItsPiece) {
  ThreadPool pool(3);
  for (const uint32_t stuck : {0u, 17u, 40u, 99u}) {
    std::atomic<uint32_t> others{0};
    pool.run(100, [&](uint32_t piece, uint32_t) {
      if (piece != stuck) {
        others.fetch_add(1);
        return;
      }
      while (others.load() < 99) std::this_thread::yield();
    });
    EXPECT_EQ(others.load(), 99u);
  }
}

TEST(ThreadPool, AThreadTakesItsPiecesInOrder) {
  ThreadPool pool(1);
  std::vector<uint32_t> order;
  pool.run(5, [&](uint32_t piece, uint32_t) { order.push_back(piece); });
  EXPECT_EQ(order, (std::vector<uint32_t>{0, 1, 2, 3, 4}));
}

TEST(ThreadPool, MorePiecesThanAPartCanCount) {
  ThreadPool pool(2);
  std::vector<std::atomic<uint8_t>> runs(2'100'000);
  pool.run(static_cast<uint32_t>(runs.size()),
           [&](uint32_t piece, uint32_t) { runs[piece].fetch_add(1, std::memory_order_relaxed); });
  EXPECT_TRUE(std::all_of(runs.begin(), runs.end(), [](const auto& n) { return n == 1; }));
}

}  // namespace
}  // namespace splitd

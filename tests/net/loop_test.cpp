#include "net/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace splitd::net {
namespace {

struct Fired {
  std::vector<int>* order;
  int name;
  Loop* loop;
  Timer timer;
};

TEST(Loop, TimersFireInOrder) {
  auto loop = Loop::create();
  ASSERT_TRUE(loop.ok());
  std::vector<int> order;
  std::vector<Fired> timers(200);
  const Clock::time_point base = Clock::now();
  for (int i = 0; i < 200; ++i) {
    Fired& one = timers[static_cast<size_t>(i)];
    one = {&order, i, loop->get(), {}};
    one.timer.owner = &one;
    one.timer.fire = [](Timer& timer) {
      auto& self = *static_cast<Fired*>(timer.owner);
      self.order->push_back(self.name);
      if (self.name == 199) self.loop->stop();
    };
    // Set in a scattered order, some twice, and every third cancelled.
  }
  for (int i = 0; i < 200; ++i) {
    Fired& one = timers[static_cast<size_t>(i * 77 % 200)];
    (*loop)->set(one.timer, base + std::chrono::seconds(1000 - one.name));
    (*loop)->set(one.timer, base + std::chrono::microseconds(one.name * 10));
  }
  for (int i = 0; i < 198; i += 3) (*loop)->cancel(timers[static_cast<size_t>(i)].timer);
  ASSERT_TRUE((*loop)->run().ok());
  EXPECT_EQ(order.size(), 200u - 66u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(Loop, ARemovedWatchIsNotCalled) {
  auto loop = Loop::create();
  ASSERT_TRUE(loop.ok());
  struct Pair {
    Loop* loop;
    Watch watches[2];
    FileDescriptor ends[4];
    int calls = 0;
  } pair;
  pair.loop = loop->get();
  for (int i = 0; i < 2; ++i) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pair.ends[2 * i] = FileDescriptor(ends[0]);
    pair.ends[2 * i + 1] = FileDescriptor(ends[1]);
    pair.watches[i].fd = ends[0];
    pair.watches[i].owner = &pair;
    pair.watches[i].ready = [](Watch& watch, Readiness readiness) {
      auto& self = *static_cast<Pair*>(watch.owner);
      EXPECT_TRUE(readiness.readable);
      ++self.calls;
      // Both are ready in this round: the first one called removes both.
      for (Watch& one : self.watches) self.loop->remove(one);
      self.loop->stop();
    };
    ASSERT_TRUE((*loop)->add(pair.watches[i], true, false).ok());
    ASSERT_EQ(::write(ends[1], "x", 1), 1);
  }
  ASSERT_TRUE((*loop)->run().ok());
  EXPECT_EQ(pair.calls, 1);
}

TEST(Loop, OtherThreadsPostAndWait) {
  auto thread = LoopThread::start();
  ASSERT_TRUE(thread.ok());
  int sum = 0;  // touched by the loop's thread alone, read after run_and_wait
  for (int i = 1; i <= 100; ++i) {
    (*thread)->loop().post([&sum, i] { sum += i; });
  }
  (*thread)->run_and_wait([&sum] { sum += 1; });
  EXPECT_EQ(sum, 5051);
}

TEST(Loop, AStopBeforeItRunsCounts) {
  auto loop = Loop::create();
  ASSERT_TRUE(loop.ok());
  (*loop)->stop();
  EXPECT_TRUE((*loop)->run().ok());
}

}  // namespace
}  // namespace splitd::net

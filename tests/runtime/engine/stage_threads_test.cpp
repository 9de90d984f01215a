// A local stage used from many threads at once: one sends, cancels and closes sessions while
// replies of them are waited for, two wait for replies and compute meanwhile, one computes in a
// loop of its own, one opens and closes sessions. When exactly a row died is not known then; all
// else is. What the thread sanitizer is to look at.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/engine/random_client.h"
#include "tests/runtime/engine/random_seed.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

constexpr ClientShape kShape{{40, 14, KvType::f16}, 0, 9, 3, 70, 300};

class StageThreads : public testing::TestWithParam<const char*> {
 protected:
  StageThreads()
      : model_(GetParam()),
        backend_(model_.backend(*kernels::runnable_tables().back(), pool_, false)),
        reference_backend_(
            model_.backend(*kernels::runnable_tables().back(), reference_pool_, false)) {
    for (auto& client : clients_) client = make_client();
    chain_ = recompute(*reference_backend_, kChain, KvType::f16);
    chain_in_.resize(chain_.size());
    reference_backend_->embed(kChain, chain_in_.data());
  }

  static Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::milliseconds(1); }
  std::shared_ptr<RandomClient> make_client() {
    return std::make_shared<RandomClient>(stage_, *reference_backend_, kShape, random_);
  }

  // Whether anything failed, or all was sent and its replies are here.
  bool at_end(size_t begin, size_t end) {
    bool idle = done_;
    for (size_t i = begin; i < end; ++i) idle = idle && clients_[i]->n_awaited() == 0;
    return idle || HasFatalFailure();
  }

  // Replies of the clients in [begin, end).
  void fetch(size_t begin, size_t end) {
    StageReply reply;
    for (size_t i = begin;; i = i + 1 == end ? begin : i + 1) {
      std::shared_ptr<RandomClient> client;
      {
        const std::lock_guard lock(mutex_);
        if (at_end(begin, end)) return;
        client = clients_[i];
      }
      if (!stage_.next(client->id(), soon(), reply).ok()) continue;
      const std::lock_guard lock(mutex_);
      if (!HasFatalFailure()) client->check(reply, reference_, false, counts_);
    }
  }

  void compute() {
    while (!stop_.load()) {
      if (!stage_.step()) static_cast<void>(stage_.wait_for_work(soon()));
    }
  }

  // Short lives: a prompt, its rows, the end, sometimes with a request in flight.
  void churn() {
    for (uint32_t life = 0; !stop_.load(); ++life) {
      const SessionId id = *stage_.open({16, 4, KvType::f16});
      TimelineRequest request;
      request.append = Frame{.first = 0, .base = kNoRow, .n_row = 5, .commit = true};
      EXPECT_TRUE(stage_.submit(id, {1, 0, request, chain_in_}).ok());
      EXPECT_TRUE(stage_.submit(id, {2, 0, {}, {}}).ok());
      StageReply reply;
      if (life % 4 != 0) {
        EXPECT_TRUE(stage_.next(id, Deadline::max(), reply).ok());
        EXPECT_EQ(reply.rows, chain_);
      }
      stage_.close(id);
    }
  }

  // `n_op` requests of whichever client; now and then one is closed under who waits for it.
  void send(uint64_t n_op) {
    for (uint64_t op = 0; op < n_op;) {
      std::this_thread::yield();
      std::shared_ptr<RandomClient> ended;  // closed without the mutex
      const std::lock_guard lock(mutex_);
      if (HasFatalFailure()) return;
      std::shared_ptr<RandomClient>& client = clients_[random_() % clients_.size()];
      if (client->n_row() > kShape.most_rows || random_() % 20 == 0) {
        stage_.close(client->id());
        ended = std::exchange(client, make_client());
        ++n_closed_;
      }
      if (client->n_awaited() + 1 >= kReplyWindow) continue;
      client->act(false, counts_);
      ++op;
    }
  }

  const std::vector<uint32_t> kChain{1, 2, 3, 4, 5};
  GoldenModel model_;
  ThreadPool pool_{2}, reference_pool_{1};
  std::unique_ptr<Backend> backend_, reference_backend_;
  HookedBackend small_{*backend_, 16};
  LocalStage stage_{small_};
  std::vector<float> chain_, chain_in_;
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards all from here on, and reference_backend_
  std::mt19937 random_{random_seed(7)};
  Reference reference_{*reference_backend_, kShape.kv.type};
  RandomClient::Counts counts_;
  size_t n_closed_ = 0;
  std::array<std::shared_ptr<RandomClient>, 4> clients_;
  bool done_ = false;
};

TEST_P(StageThreads, DoNotDisturbEachOther) {
  const uint64_t n_op = random_ops() / 20;
  std::vector<std::thread> fetching, others;
  fetching.emplace_back([this] { fetch(0, 2); });
  fetching.emplace_back([this] { fetch(2, 4); });
  others.emplace_back([this] { compute(); });
  others.emplace_back([this] { churn(); });
  send(n_op);
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  for (std::thread& thread : fetching) thread.join();
  stop_.store(true);
  for (std::thread& thread : others) thread.join();
  EXPECT_GT(counts_.live, 0u);  // how many is up to the scheduler
  EXPECT_GT(counts_.died, 0u);
  EXPECT_GT(n_closed_, 0u);
}

INSTANTIATE_TEST_SUITE_P(Golden, StageThreads,
                         testing::Values("gemma3_text", "llama", "mistral_window", "qwen3_moe"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace splitd

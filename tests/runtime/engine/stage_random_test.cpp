// A local stage against a naive model of the tree: random frames, kept and rewound, wrong requests,
// repeats, several requests in flight, several sessions, kills between two layers of a running
// batch. What is accepted, which rows are alive and every bit of them has to be as the naive model
// says. One thread, so every reply is known exactly.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/engine/random_client.h"
#include "tests/runtime/engine/random_seed.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

struct Run {
  Backend& backend;    // under the stage
  Backend& reference;  // another of the same model
  ClientShape shape;
  uint64_t n_op;
  uint32_t max_rows;  // of a batch
  uint32_t n_client;
};

RandomClient::Counts run_exactly(const Run& run, uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](size_t n) { return static_cast<uint32_t>(random() % n); };
  HookedBackend hooked(run.backend, run.max_rows);
  LocalStage stage(hooked);
  Reference reference(run.reference, run.shape.kv.type);
  std::vector<std::unique_ptr<RandomClient>> clients(run.n_client);
  RandomClient::Counts counts;
  uint64_t n_op = 0;
  const auto act = [&] {
    RandomClient* client = clients[below(run.n_client)].get();
    if (client != nullptr) client->act(true, counts);
    ++n_op;
  };
  const auto take_replies = [&] {
    StageReply reply;
    for (const auto& client : clients) {
      while (client != nullptr && stage.next(client->id(), Deadline::min(), reply).ok()) {
        client->check(reply, reference, true, counts);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  };
  hooked.before_layer = [&] {
    take_replies();  // of requests that were through before the batch
    while (below(4) == 0) act();
    if (below(1000) == 0) clients[below(run.n_client)].reset();
    if (below(50) != 0) return;
    for (const auto& client : clients) {  // so much that the batch may be wanted by nobody
      if (client != nullptr) client->cancel(counts);
    }
  };
  while (n_op < run.n_op && !testing::Test::HasFatalFailure()) {
    for (auto& client : clients) {
      if (client != nullptr && client->n_row() > run.shape.most_rows) client.reset();
      if (client == nullptr) {
        client = std::make_unique<RandomClient>(stage, run.reference, run.shape, random);
      }
    }
    for (uint32_t i = below(8) == 0 ? 9 * run.n_client : below(2 * run.n_client); i > 0; --i) act();
    const bool worked = stage.step();
    take_replies();
    if (worked) continue;
    for (const auto& client : clients) EXPECT_EQ(client->n_awaited(), 0u);
  }
  // The run has to have met the hard cases, else it shows nothing.
  EXPECT_GT(reference.n_computed(), n_op / 100);
  EXPECT_GT(hooked.n_abandoned, run.n_client == 1 ? n_op / 100 : 0);
  EXPECT_GT(counts.sent, n_op / 3);
  EXPECT_GT(counts.refused, n_op / 50);
  EXPECT_GT(counts.repeats, n_op / 50);
  EXPECT_GT(counts.out_of_order, n_op / 100);
  EXPECT_GT(counts.live, n_op / 4);
  EXPECT_GT(counts.died, n_op / 20);
  EXPECT_GT(counts.born_dead, n_op / 100);
  EXPECT_GE(counts.in_flight, kReplyWindow - 1);
  return counts;
}

constexpr ClientShape kShort{{40, 14, KvType::f16}, 0, 9, 3, 70, 300};
constexpr ClientShape kLong{{1700, 14, KvType::f16}, 16, 400, 2, 97, 8000};

struct Model {
  const char* name;
  KvType kv;
};

class StageRandom : public testing::TestWithParam<Model> {};

TEST_P(StageRandom, AgreesWithTheNaiveModel) {
  const GoldenModel model(GetParam().name);
  const kernels::KernelTable& table = *kernels::runnable_tables().back();
  ThreadPool pool(2), reference_pool(1);
  const std::unique_ptr<Backend> backend = model.backend(table, pool, false);
  const std::unique_ptr<Backend> reference = model.backend(table, reference_pool, false);
  const uint64_t n_op = random_ops() / 12;
  ClientShape shape = kShort;
  shape.kv.type = GetParam().kv;
  run_exactly({*backend, *reference, shape, n_op, 5, 1}, random_seed(1));
  run_exactly({*backend, *reference, shape, n_op, 64, 4}, random_seed(2));
}

INSTANTIATE_TEST_SUITE_P(Golden, StageRandom,
                         testing::Values(Model{"gemma3_text", KvType::f16},
                                         Model{"llama", KvType::q8},
                                         Model{"mistral_window", KvType::bf16},
                                         Model{"qwen3_moe", KvType::f32}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(StageRandomFake, AgreesWithTheNaiveModel) {
  FakeBackend backend({0, 4, 0}), reference({0, 4, 0});
  const uint64_t n_op = random_ops() / 12;
  run_exactly({backend, reference, kShort, n_op, 2, 1}, random_seed(3));
  run_exactly({backend, reference, kShort, n_op, 7, 3}, random_seed(4));
}

// Sessions so long that layers with a window forget: what they cannot serve is refused as lost,
// what is not refused is right.
TEST(StageRandomFake, ForgetsOnlyWhatItSays) {
  FakeBackend backend({16, 40}), reference({16, 40});
  const uint64_t n_op = random_ops() / 6;
  const RandomClient::Counts counts =
      run_exactly({backend, reference, kLong, n_op, 64, 3}, random_seed(5));
  EXPECT_GT(counts.lost, n_op / 1000);
}

TEST(StageRandomFake, ForgetsOnlyWhatItSaysOnTheCpu) {
  const GoldenModel model("mistral_window");
  const kernels::KernelTable& table = *kernels::runnable_tables().back();
  ThreadPool pool(2);
  const std::unique_ptr<Backend> backend = model.backend(table, pool);
  const std::unique_ptr<Backend> reference = model.backend(table, pool);
  // A row is recomputed with up to 1700 before it, so the time is in here: no more of these.
  const uint64_t n_op = std::min<uint64_t>(random_ops() / 24, 5000);
  const RandomClient::Counts counts =
      run_exactly({*backend, *reference, kLong, n_op, 512, 2}, random_seed(6));
  EXPECT_GT(counts.lost, 0u);
}

}  // namespace
}  // namespace splitd

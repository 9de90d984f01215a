// Steps replayed from graphs give the bits of plain launches, whatever changed since the capture:
// rows, positions, trees, sessions, how many rows are dead. On the emulation also what a step costs
// the host, and that a capture or a replay that fails is no error.
#include <gtest/gtest.h>

#include "tests/runtime/engine/cuda/cuda_model.h"
#include "tests/runtime/engine/cuda/cuda_sessions.h"

#if defined(SPLITD_EMULATED_CUDA)
#include "tests/heap_count.h"
#endif

namespace splitd {
namespace {

const std::vector<KvShape> kSessions = {{60, 12, KvType::f16}, {90, 12, KvType::f16}};

// Two sessions, each alone, in company, as trees and as chains: 1, 2, 4 and 8 rows a bucket, some
// of them full.
const std::vector<std::vector<Wanted>> kBatches = {
    {{.session = 0, .parents = chain(6), .commit = true}},
    {{.session = 1, .parents = chain(5), .commit = true}},
    {{.session = 0, .parents = chain(1), .commit = true}},
    {{.session = 1, .parents = chain(1), .commit = true}},
    {{.session = 0, .parents = {-1, 0, -1}}},
    {{.session = 0, .keep = 1, .parents = {-1, -1}},
     {.session = 1, .parents = chain(1), .commit = true}},
    {{.session = 0, .keep = 1, .parents = chain(1), .commit = true}},
    {{.session = 1, .parents = {-1, -1, 0, 1}}},
    {{.session = 1, .keep = 3, .parents = {-1, 0, 1, -1, 3}},
     {.session = 0, .parents = {-1, -1, 1}}},
    {{.session = 1, .keep = 2, .parents = {-1, 0}}, {.session = 0, .keep = 2, .parents = chain(3)}},
    {{.session = 0, .keep = 2, .parents = chain(1), .commit = true}},
    {{.session = 1, .keep = 1, .parents = chain(2), .commit = true},
     {.session = 0, .parents = chain(1), .commit = true}},
};

class CudaReplays : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
  }
};

TEST_P(CudaReplays, ChangeNoBit) {
  const SyntheticModel model(kSmallShape, GetParam(), false);
  const std::unique_ptr<Backend> plain = cuda_backend(model, false);
  const std::unique_ptr<Backend> replayed = cuda_backend(model, true);
  CudaSessions as_launched(*plain, kSessions), as_replayed(*replayed, kSessions);
  std::vector<float> before;
  for (size_t i = 0; i < kBatches.size(); ++i) {
    const std::vector<float> want = as_launched.run(kBatches[i]);
    ASSERT_EQ(as_replayed.run(kBatches[i]), want) << "batch " << i;
    ASSERT_NE(want, before);
    before = want;
  }
  EXPECT_TRUE(replayed->fault().ok());
}

INSTANTIATE_TEST_SUITE_P(Types, CudaReplays, testing::Values(DType::bf16, DType::f32, DType::q4_0),
                         [](const auto& test) { return std::string(dtype_name(test.param)); });

// Positions pass from the first split of attention to the second, and a session that is longer
// moves the room that captured launches used.
TEST(CudaReplaysLong, FollowTheContext) {
  if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
  SyntheticShape shape = kSmallShape;
  shape.n_layer = 1;
  const SyntheticModel model(shape, DType::bf16, false);
  const std::unique_ptr<Backend> plain = cuda_backend(model, false);
  const std::unique_ptr<Backend> replayed = cuda_backend(model, true);
  CudaSessions as_launched(*plain, {{300, 4}}), as_replayed(*replayed, {{300, 4}});
  const Wanted prompt{.session = 0, .parents = chain(252), .commit = true};
  ASSERT_EQ(as_replayed.run({prompt}), as_launched.run({prompt}));
  const Wanted step{.session = 0, .parents = chain(1), .commit = true};
  std::unique_ptr<Kv> longer;
  for (int i = 0; i < 8; ++i) {
    if (i == 6) longer = std::move(*replayed->make_kv({3000, 500, KvType::f16}));
    ASSERT_EQ(as_replayed.run({step}), as_launched.run({step})) << "position " << 252 + i;
  }
}

#if defined(SPLITD_EMULATED_CUDA)

// What a step costs once it is captured: two copies, a graph a layer, one wait, no memory.
TEST(CudaReplaysCost, AStepIsReplayed) {
  const SyntheticModel model(kSmallShape, DType::bf16, false);
  const std::unique_ptr<Backend> backend = cuda_backend(model, true);
  CudaSessions sessions(*backend, kSessions);
  const Wanted step{.session = 0, .parents = chain(3), .commit = true};
  for (int i = 0; i < 2; ++i) ASSERT_FALSE(sessions.run({step}).empty());
  const emulated::Calls before = emulated::calls();
  ASSERT_FALSE(sessions.run({step}).empty());
  const emulated::Calls after = emulated::calls();
  EXPECT_EQ(after.n_capture, before.n_capture);
  EXPECT_EQ(after.n_launch, before.n_launch);
  EXPECT_EQ(after.n_graph_launch, before.n_graph_launch + kSmallShape.n_layer);
  EXPECT_EQ(after.n_copy, before.n_copy + 2);
  EXPECT_EQ(after.n_wait, before.n_wait + 1);
  EXPECT_EQ(after.n_alloc, before.n_alloc);
}

TEST(CudaReplaysCost, AStepAllocatesNothing) {
  const SyntheticModel model(kSmallShape, DType::bf16, false);
  const std::unique_ptr<Backend> backend = cuda_backend(model, true);
  const std::unique_ptr<Kv> kv = std::move(*backend->make_kv({60, 4, KvType::f16}));
  std::vector<float> hidden(model.config().d_model, 0.5f);
  const std::function<bool()> go_on = [] { return true; };
  uint64_t before = 0;
  for (uint32_t i = 0; i < 6; ++i) {
    if (i == 3) before = heap::n_alloc.load();
    const BatchRow row{kv.get(), i, i, i + 1, nullptr};
    ASSERT_TRUE(backend->forward({&row, 1}, hidden.data(), backend->layers(), go_on));
  }
  EXPECT_GT(before, 100u);
  EXPECT_EQ(heap::n_alloc.load(), before);
}

// More shapes of steps than are kept: those that were not used for longest make room.
TEST(CudaReplaysCost, TheOldestAreForgotten) {
  const SyntheticModel model(kSmallShape, DType::bf16, false);
  const std::unique_ptr<Backend> plain = cuda_backend(model, false);
  const std::unique_ptr<Backend> replayed = cuda_backend(model, true);
  const auto run = [&](Backend& backend, Kv& kv, LayerRange layers, uint32_t n) {
    std::vector<float> hidden(n * size_t{model.config().d_model}, 0.25f);
    std::vector<BatchRow> rows;
    for (uint32_t i = 0; i < n; ++i) rows.push_back({&kv, i, i, i + 1, nullptr});
    EXPECT_TRUE(backend.forward(rows, hidden.data(), layers, [] { return true; }));
    return hidden;
  };
  const emulated::Calls before = emulated::calls();
  size_t n_graph = 0;
  for (const KvType type : {KvType::f32, KvType::f16, KvType::bf16, KvType::q8, KvType::f32}) {
    const std::unique_ptr<Kv> a = std::move(*plain->make_kv({8, 4, type}));
    const std::unique_ptr<Kv> b = std::move(*replayed->make_kv({8, 4, type}));
    for (const LayerRange layers : {LayerRange{0, 1}, {1, 2}, {2, 3}, {0, 2}, {1, 3}, {0, 3}}) {
      for (const uint32_t n : {1u, 2u, 3u}) {
        const std::vector<float> want = run(*plain, *a, layers, n);
        ASSERT_EQ(run(*replayed, *b, layers, n), want);
        ASSERT_EQ(run(*replayed, *b, layers, n), want);
        n_graph += layers.end - layers.begin;
      }
    }
  }
  // The last type is the first again, and its steps had gone.
  EXPECT_EQ(emulated::calls().n_capture - before.n_capture, n_graph);
}

// Whatever the driver refuses, the rows come out the same, and nothing is broken.
TEST(CudaReplaysCost, WhatFailsIsLaunchedPlainly) {
  const SyntheticModel model(kSmallShape, DType::bf16, false);
  const std::unique_ptr<Backend> plain = cuda_backend(model, false);
  using Failure = emulated::GraphFailure;
  for (const Failure at :
       {Failure::begin, Failure::within, Failure::end, Failure::instantiate, Failure::launch}) {
    const std::unique_ptr<Backend> backend = cuda_backend(model, true);
    CudaSessions as_launched(*plain, kSessions), as_replayed(*backend, kSessions);
    const Wanted step{.session = 1, .parents = {-1, 0, -1}, .commit = false};
    const Wanted next{.session = 1, .keep = 1, .parents = {-1, -1, 1}, .commit = false};
    ASSERT_EQ(as_replayed.run({step}), as_launched.run({step}));
    emulated::fail_graphs(at);
    const size_t n_replayed = emulated::calls().n_graph_launch;
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(as_replayed.run({next}), as_launched.run({next})) << static_cast<int>(at);
    }
    EXPECT_EQ(emulated::calls().n_graph_launch, n_replayed);
    emulated::fail_graphs(Failure::none);
    EXPECT_TRUE(backend->fault().ok());
  }
}

#endif

}  // namespace
}  // namespace splitd

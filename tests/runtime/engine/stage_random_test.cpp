// random_run.h over the CPU's backend, and over one that computes whole numbers.
#include <gtest/gtest.h>

#include <memory>

#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/engine/random_run.h"
#include "tests/runtime/engine/random_seed.h"

namespace splitd {
namespace {

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

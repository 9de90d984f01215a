// Bulk chunks on the CUDA backend: what they are close to, that they come out the same again, that
// what follows them is plain. Built twice, as cuda_golden_test.cpp is.
#include "runtime/engine/cuda/cuda_backend.h"
#include "runtime/engine/layer_run.h"
#include "tests/runtime/engine/cuda/needs_device.h"
#include "tests/runtime/engine/golden_checks.h"

namespace splitd {
namespace {

class CudaBulk : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
    model_ = std::make_unique<GoldenModel>(GetParam());
  }

  std::unique_ptr<Backend> backend(bool bulk, bool exact = false) const {
    Result<std::unique_ptr<Backend>> made =
        make_cuda_backend(model_->config(), model_->weights(),
                          {.table = kernels::runnable_tables()[0], .exact = exact, .bulk = bulk});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(*made);
  }

  std::vector<uint32_t> tokens(uint32_t n) const {
    std::vector<uint32_t> out;
    for (uint32_t i = 0; i < n; ++i)
      out.push_back((i * i * 13 + i * 5 + 3) % model_->config().n_vocab);
    return out;
  }

  // Hidden states of all tokens: bulk chunks as long as they last, then 17 rows at a time.
  std::vector<float> run(Backend& backend, const std::vector<uint32_t>& tokens,
                         KvType kv = KvType::f16) const {
    LayerRun run = std::move(*LayerRun::open(backend, backend.layers(), {600, 4, kv}));
    std::vector<float> hidden(tokens.size() * backend.config().d_model);
    backend.embed(tokens, hidden.data());
    for (uint32_t at = 0; at < tokens.size();) {
      const auto left = static_cast<uint32_t>(tokens.size()) - at;
      TimelineRequest request;
      request.append = Frame{.first = at,
                             .base = at == 0 ? kNoRow : at - 1,
                             .n_row = left >= kBulkRows ? kBulkRows : std::min(left, 17u),
                             .commit = true,
                             .bulk = left >= kBulkRows};
      float* rows = hidden.data() + at * size_t{backend.config().d_model};
      const Status status = run.run(request, rows, [] { return true; });
      EXPECT_TRUE(status.ok()) << status.error().message;
      at += request.append->n_row;
    }
    return hidden;
  }

  std::unique_ptr<GoldenModel> model_;
};

// Beside the CPU's fp32: as near as the invariant kernels come with rounded activations.
TEST_P(CudaBulk, AsNearAsRowsByThemselves) {
  const std::unique_ptr<Backend> bulk = backend(true), plain = backend(false);
  ASSERT_TRUE(bulk->takes_bulk());
  ASSERT_FALSE(plain->takes_bulk());
  EXPECT_NE(bulk->arith(), plain->arith());
  EXPECT_NE(bulk->arith().find("+cublas"), std::string::npos) << bulk->arith();
  ThreadPool pool(1);
  const std::unique_ptr<Backend> cpu = model_->backend(*kernels::runnable_tables()[0], pool);
  const std::vector<uint32_t> text = tokens(kBulkRows + 20);
  const std::vector<float> exact = run(*cpu, text, KvType::f32);
  const std::vector<float> in_bulk = run(*bulk, text), alone = run(*plain, text);
  EXPECT_NE(in_bulk, alone);
  const double error = relative_error(in_bulk, exact), usual = relative_error(alone, exact);
  EXPECT_LE(error, 2 * usual + 1e-3) << usual;
  EXPECT_LE(usual, 0.1);
}

TEST_P(CudaBulk, TheSameAgainWhateverComesLater) {
  const std::unique_ptr<Backend> some = backend(true);
  std::vector<uint32_t> text = tokens(kBulkRows);
  const std::vector<float> all = run(*some, text, KvType::q8);
  EXPECT_EQ(run(*some, text, KvType::q8), all);
  constexpr size_t kSame = 90;
  for (size_t i = kSame; i < text.size(); ++i) text[i] = (text[i] + 1) % model_->config().n_vocab;
  const std::vector<float> others = run(*some, text, KvType::q8);
  const auto same = static_cast<std::ptrdiff_t>(kSame * model_->config().d_model);
  EXPECT_TRUE(std::equal(all.begin(), all.begin() + same, others.begin()));
  EXPECT_NE(others, all);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaBulk,
                         testing::Values("gemma3_text", "llama_f16_mha", "phi3_longrope_long",
                                         "qwen2", "qwen3_moe", "smollm2_like"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd

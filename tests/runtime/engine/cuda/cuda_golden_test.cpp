// The CUDA backend on every golden model. Built twice: on CUDA, where it needs a device, and on the
// emulation of tests/emulated_cuda, which every machine has.
#include "runtime/engine/cuda/cuda_backend.h"
#include "tests/runtime/engine/cuda/needs_device.h"
#include "tests/runtime/engine/golden_checks.h"

namespace splitd {
namespace {

constexpr const char* kLeftOut = "waits for a device: emulated, a share of the models has to do";

class CudaGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
    model_ = std::make_unique<GoldenModel>(GetParam());
    backend_ = backend(true);
  }

  std::unique_ptr<Backend> backend(bool exact) const {
    Result<std::unique_ptr<Backend>> made =
        make_cuda_backend(model_->config(), model_->weights(),
                          {.table = kernels::runnable_tables()[0], .exact = exact});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(*made);
  }

  // The emulation takes seconds a model, under a sanitizer many.
  static bool leave_out(int share) {
    const std::vector<std::string> names = golden_model_names();
    const auto index = std::find(names.begin(), names.end(), GetParam()) - names.begin();
    return kSlowness > 1 && index % (share * kSlowness / 3) != 0;
  }
#if !defined(SPLITD_EMULATED_CUDA)
  static constexpr int kSlowness = 1;
#elif defined(__SANITIZE_ADDRESS__) || defined(__clang__)  // clang: the sanitizers' presets
  static constexpr int kSlowness = 9;
#else
  static constexpr int kSlowness = 3;
#endif

  std::unique_ptr<GoldenModel> model_;
  std::unique_ptr<Backend> backend_;
};

TEST_P(CudaGolden, HiddenStatesOfEveryLayer) {
  if (leave_out(1)) GTEST_SKIP() << kLeftOut;
  check_hidden_states(*model_, *backend_);
}

TEST_P(CudaGolden, LogitsAndGreedyTokens) {
  if (leave_out(6)) GTEST_SKIP() << kLeftOut;
  check_logits_and_greedy_tokens(*model_, *backend_);
}

TEST_P(CudaGolden, TreeRowsAreTheirOwnPaths) {
  if (leave_out(6)) GTEST_SKIP() << kLeftOut;
  check_tree_rows(*model_, *backend_);
}

TEST_P(CudaGolden, ChunksChangeNoBit) {
  if (leave_out(6)) GTEST_SKIP() << kLeftOut;
  for (const bool exact : {true, false}) {
    const std::unique_ptr<Backend> some = backend(exact);
    const std::vector<float> whole = logits_in_chunks(*model_, *some, 45);
    for (const size_t chunk : {1u, 7u, 16u}) {
      ASSERT_EQ(logits_in_chunks(*model_, *some, chunk), whole) << chunk << " rows a chunk";
    }
    // KV in f16, and rounded activations, move the logits a little: as far as a model lets them.
    const double sensitivity = golden_tolerance(model_->config()) / 2e-5;
    EXPECT_LE(relative_error(whole, model_->expected("logits.45")),
              sensitivity * (exact ? 1e-2 : 1e-1));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CudaGolden, testing::ValuesIn(golden_model_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd

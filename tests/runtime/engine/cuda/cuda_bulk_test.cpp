// Bulk chunks on the CUDA backend: what they are close to, that they come out the same again, that
// what follows them is plain. Built twice, as cuda_golden_test.cpp is.
#include <cmath>

#include "runtime/engine/cpu_backend.h"
#include "runtime/engine/layer_run.h"
#include "tests/runtime/engine/cuda/cuda_model.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

// A model, or some of its layers, from either source.
struct BulkModel {
  ModelConfig config;
  std::shared_ptr<const ModelWeights> weights;
  std::shared_ptr<const void> memory;  // that they view
};

BulkModel synthetic(DType type, const SyntheticShape& shape = kSmallShape) {
  const auto model = std::make_shared<SyntheticModel>(shape, type, false);
  return {model->config(), {model, &model->weights()}, model};
}

BulkModel golden(const std::string& name, LayerRange layers) {
  const auto model = std::make_shared<GoldenModel>(name);
  auto weights =
      std::make_shared<ModelWeights>(std::move(*model->files().weights(layers, true, false)));
  return {model->config(), std::move(weights), model};
}

class CudaBulk : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
  }

  static std::unique_ptr<Backend> backend(const BulkModel& model, bool bulk, bool exact = false) {
    Result<std::unique_ptr<Backend>> made =
        make_cuda_backend(model.config, *model.weights,
                          {.table = kernels::runnable_tables()[0], .exact = exact, .bulk = bulk});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(*made);
  }

  static std::vector<uint32_t> tokens(const BulkModel& model, uint32_t n) {
    std::vector<uint32_t> out;
    for (uint32_t i = 0; i < n; ++i) out.push_back((i * i * 13 + i * 5 + 3) % model.config.n_vocab);
    return out;
  }

  // Hidden states of all tokens: bulk chunks as long as they last, then 17 rows at a time.
  static std::vector<float> run(Backend& backend, const std::vector<uint32_t>& tokens,
                                KvType kv = KvType::f16) {
    LayerRun run = std::move(*LayerRun::open(backend, backend.layers(), {600, 4, kv}));
    const size_t d = backend.config().d_model;
    std::vector<float> hidden(tokens.size() * d);
    backend.embed(tokens, hidden.data());
    for (uint32_t at = 0; at < tokens.size();) {
      const auto left = static_cast<uint32_t>(tokens.size()) - at;
      TimelineRequest request;
      request.append = Frame{.first = at,
                             .base = at == 0 ? kNoRow : at - 1,
                             .n_row = left >= kBulkRows ? kBulkRows : std::min(left, 17u),
                             .parents = {},
                             .commit = true,
                             .bulk = left >= kBulkRows};
      const Status status = run.run(request, hidden.data() + at * d, [] { return true; });
      EXPECT_TRUE(status.ok()) << status.error().message;
      at += request.append->n_row;
    }
    return hidden;
  }

  // Of a row from what it should be, by their lengths, where nearly all rows are nearer: rounding
  // sends a row or two of a model with experts to others.
  static double distance(const std::vector<float>& a, const std::vector<float>& b, size_t d) {
    std::vector<double> rows;
    for (size_t row = 0; row < b.size() / d; ++row) {
      double difference = 0, size = 0;
      for (size_t i = row * d; i < (row + 1) * d; ++i) {
        difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
        size += double{b[i]} * b[i];
      }
      rows.push_back(std::sqrt(difference / size));
    }
    std::sort(rows.begin(), rows.end());
    return rows[rows.size() - 10];
  }

  // Beside the CPU's fp32: as near as the invariant kernels come with rounded activations.
  static void check_nearness(const BulkModel& model) {
    const std::unique_ptr<Backend> bulk = backend(model, true), plain = backend(model, false);
    ASSERT_TRUE(bulk->takes_bulk());
    ASSERT_FALSE(plain->takes_bulk());
    EXPECT_NE(bulk->arith().find("+cublas"), std::string::npos) << bulk->arith();
    EXPECT_EQ(plain->arith().find('+'), std::string::npos) << plain->arith();
    ThreadPool pool(1);
    const std::unique_ptr<Backend> cpu = std::move(*make_cpu_backend(
        model.config, *model.weights, {kernels::runnable_tables()[0], &pool, true}));
    const std::vector<uint32_t> text = tokens(model, kBulkRows + 20);
    const std::vector<float> exact = run(*cpu, text, KvType::f32);
    const std::vector<float> in_bulk = run(*bulk, text), alone = run(*plain, text);
    EXPECT_NE(in_bulk, alone);
    const size_t d = model.config.d_model;
    const double error = distance(in_bulk, exact, d), usual = distance(alone, exact, d);
    EXPECT_LE(error, 2 * usual + 1e-3) << usual;
    EXPECT_LE(usual, 0.05);
  }
};

TEST_F(CudaBulk, NearWithEveryTypeOfWeights) {
  check_nearness(synthetic(DType::bf16));  // experts and a window too
  SyntheticShape flat = kSmallShape;
  flat.n_layer = 1;
  for (const DType type : {DType::f16, DType::q8_0, DType::q4_0}) {
    SCOPED_TRACE(dtype_info(type).name);
    check_nearness(synthetic(type, flat));
  }
}

// Norms of heads beside a window and none; biases; one matrix for q, k and v.
TEST_F(CudaBulk, NearOnGoldenModels) {
#if defined(SPLITD_EMULATED_CUDA) && (defined(__SANITIZE_ADDRESS__) || defined(__clang__))
  GTEST_SKIP() << "waits for a device or for a build without a sanitizer: a minute otherwise";
#endif
  check_nearness(golden("gemma3_text", {4, 6}));
  check_nearness(golden("qwen2", {0, 1}));
  check_nearness(golden("phi3_longrope_long", {0, 1}));
}

TEST_F(CudaBulk, TheSameAgainWhateverComesLater) {
  const BulkModel model = synthetic(DType::q8_0);
  const std::unique_ptr<Backend> some = backend(model, true);
  std::vector<uint32_t> text = tokens(model, 2 * kBulkRows);
  const std::vector<float> all = run(*some, text, KvType::q8);
  EXPECT_EQ(run(*backend(model, true), text, KvType::q8), all);
  constexpr size_t kSame = kBulkRows + 90;
  for (size_t i = kSame; i < text.size(); ++i) text[i] = (text[i] + 1) % model.config.n_vocab;
  const std::vector<float> others = run(*some, text, KvType::q8);
  const auto same = static_cast<std::ptrdiff_t>(kSame * model.config.d_model);
  EXPECT_TRUE(std::equal(all.begin(), all.begin() + same, others.begin()));
  EXPECT_NE(others, all);
}

// A head wider than the tiles are: the invariant attention beside cuBLAS' products.
TEST_F(CudaBulk, NearWithWideHeads) {
  SyntheticShape wide = kSmallShape;
  wide.n_head = wide.n_kv_head = 1;
  wide.d_head = 320;
  wide.n_layer = 1;
  check_nearness(synthetic(DType::bf16, wide));
}

TEST_F(CudaBulk, RowsLikeAnyWhereTheyCannotBe) {
  SyntheticShape flat = kSmallShape;
  flat.n_layer = 1;
  const BulkModel f32 = synthetic(DType::f32, flat), bf16 = synthetic(DType::bf16, flat);
  EXPECT_FALSE(backend(f32, true)->takes_bulk());
  EXPECT_FALSE(backend(bf16, true, true)->takes_bulk());
#if defined(SPLITD_EMULATED_CUDA)
  emulated::set_cublas(false);
  const std::unique_ptr<Backend> without = backend(bf16, true);
  emulated::set_cublas(true);
  EXPECT_FALSE(without->takes_bulk());
  const std::unique_ptr<Backend> plain = backend(bf16, false);
  EXPECT_EQ(without->arith(), plain->arith());
  const std::vector<uint32_t> text = tokens(bf16, kBulkRows);
  EXPECT_EQ(run(*without, text), run(*plain, text));
#endif
}

}  // namespace
}  // namespace splitd

// Attention of bulk chunks: against f64 attention over the rows as the cache rounded them, and bit
// for bit whatever comes later in the chunk and wherever its rows lie.
#include "tests/kernels/cuda/attention_session.h"

namespace splitd::kernels::cuda {
namespace {

const AttentionShape kShapes[] = {
    {.n_head = 2, .n_kv_head = 1, .d_head = 64},
    {.type = KvType::bf16, .n_head = 2, .n_kv_head = 1, .d_head = 128, .softcap = 5},
    {.type = KvType::q8, .n_head = 2, .n_kv_head = 2, .d_head = 80, .window = 100, .ring = 512},
    {.type = KvType::f32, .n_head = 2, .n_kv_head = 1, .d_head = 20},
    {.type = KvType::f16, .n_head = 1, .n_kv_head = 1, .d_head = 256, .window = 300, .ring = 576},
    {.type = KvType::f16, .n_head = 2, .n_kv_head = 1, .d_head = 36, .window = 1, .ring = 320},
    {.type = KvType::bf16, .n_head = 1, .n_kv_head = 1, .d_head = 2, .window = 4000},
};

class CudaFlashAttention : public testing::TestWithParam<int> {
 protected:
  static constexpr uint32_t kChunk = 256, kRows = 3 * kChunk, kCtx = 1000;

  const AttentionShape& shape_ = kShapes[GetParam()];
  const size_t width_ = size_t{shape_.n_head + 2 * shape_.n_kv_head} * shape_.d_head;
  const size_t result_ = size_t{shape_.n_head} * shape_.d_head;

  static std::vector<BatchRow> chain(uint32_t begin, uint32_t end) {
    std::vector<BatchRow> out;
    for (uint32_t at = begin; at < end; ++at) out.push_back({nullptr, at, at, at + 1, 0});
    return out;
  }
  // The results of so many rows, one chunk after another.
  std::vector<float> run(AttentionSession& session, const std::vector<float>& rows,
                         uint32_t n_row) const {
    std::vector<float> out;
    for (uint32_t at = 0; at < n_row; at += kChunk) {
      const auto from = rows.begin() + static_cast<std::ptrdiff_t>(at * width_);
      const std::vector<float> some = session.flash(
          chain(at, at + kChunk), {from, from + static_cast<std::ptrdiff_t>(kChunk * width_)});
      out.insert(out.end(), some.begin(), some.end());
    }
    return out;
  }
};

TEST_P(CudaFlashAttention, AgreesWithF64) {
  SPLITD_NEEDS_DEVICE();
  std::mt19937 random(5);
  const std::vector<float> rows = exact_values(kRows, shape_, random);
  AttentionSession session(shape_, kCtx, 4);
  const std::vector<float> got = run(session, rows, kRows);
  std::vector<const float*> line;
  double worst = 0, spread = 0;
  for (uint32_t at = 0; at < kRows; ++at) {
    line.push_back(rows.data() + at * width_);
    if (at % 64 != 0 && at % 64 != 63 && at % 41 != 0) continue;
    const std::vector<double> exact = naive_attention(shape_, line);
    for (size_t i = 0; i < result_; ++i) {
      const double error = std::fabs(got[at * result_ + i] - exact[i]);
      ASSERT_FALSE(std::isnan(error)) << "position " << at << " value " << i;
      worst = std::max(worst, error);
      spread = std::max(spread, std::fabs(exact[i] - exact[0]));
    }
  }
  // Values go to 127/64: what rounding probabilities can do to their mean.
  EXPECT_LE(worst, shape_.type == KvType::f16 ? 1e-3 : 8e-3);
  EXPECT_GT(spread, 0.3);
}

TEST_P(CudaFlashAttention, LaterRowsAndOtherSlotsChangeNoBit) {
  SPLITD_NEEDS_DEVICE();
  std::mt19937 random(6);
  std::vector<float> rows = exact_values(kRows, shape_, random);
  AttentionSession session(shape_, kCtx, 4);
  const std::vector<float> whole = run(session, rows, 2 * kChunk);

  AttentionShape longer = shape_;
  longer.ring = 1024;
  AttentionSession elsewhere(longer, kCtx, 9);
  EXPECT_EQ(run(elsewhere, rows, 2 * kChunk), whole);

  constexpr uint32_t kSame = 77;  // of the second chunk
  const std::vector<float> others = exact_values(kRows, shape_, random);
  const auto from = static_cast<std::ptrdiff_t>((kChunk + kSame) * width_);
  std::copy(others.begin() + from, others.end(), rows.begin() + from);
  AttentionSession again(shape_, kCtx, 4);
  const std::vector<float> got = run(again, rows, 2 * kChunk);
  const auto same = static_cast<std::ptrdiff_t>((kChunk + kSame) * result_);
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + same, whole.begin()));
  EXPECT_NE(got, whole);
}

INSTANTIATE_TEST_SUITE_P(Setups, CudaFlashAttention,
                         testing::Range(0, static_cast<int>(std::size(kShapes))));

// Queries that f16 does not hold, large or small, are scaled and not lost.
void check_queries(float factor, float scale) {
  const AttentionShape shape{.n_head = 1, .n_kv_head = 1, .d_head = 64, .scale = scale};
  std::mt19937 random(7);
  std::vector<float> rows = exact_values(kFlashRows, shape, random);
  for (size_t row = 0; row < kFlashRows; ++row) {
    for (size_t e = 0; e < 64; ++e) rows[row * 192 + e] *= factor;
  }
  std::vector<BatchRow> chain;
  for (uint32_t at = 0; at < kFlashRows; ++at) chain.push_back({nullptr, at, at, at + 1, 0});
  AttentionSession session(shape, 64, 0);
  const std::vector<float> got = session.flash(chain, rows);
  std::vector<const float*> line;
  for (size_t row = 0; row < kFlashRows; ++row) {
    line.push_back(rows.data() + row * 192);
    const std::vector<double> exact = naive_attention(shape, line);
    for (size_t i = 0; i < 64; ++i) ASSERT_NEAR(got[row * 64 + i], exact[i], 2e-3) << row;
  }
}

TEST(CudaFlashAttention, QueriesBeyondF16) {
  SPLITD_NEEDS_DEVICE();
  check_queries(0x1p17f, 1e-5f);
  check_queries(0x1p-40f, 0x1p40f);
}

// A score beyond f16's keys is no number, whatever a softcap would make of it.
TEST(CudaFlashAttention, ScoresThatAreNotFiniteShow) {
  SPLITD_NEEDS_DEVICE();
  constexpr size_t kBroken = 9, kHead = 64, kWidth = 3 * kHead;
  for (const float softcap : {0.0f, 50.0f}) {
    for (const float key : {1e5f, -1e5f}) {
      const AttentionShape shape{.n_head = 1, .n_kv_head = 1, .d_head = kHead, .softcap = softcap};
      std::mt19937 random(8);
      std::vector<float> rows = exact_values(kFlashRows, shape, random);
      rows[kBroken * kWidth + kHead] = key;  // every query's first number is positive
      std::vector<BatchRow> chain;
      for (uint32_t at = 0; at < kFlashRows; ++at) chain.push_back({nullptr, at, at, at + 1, 0});
      AttentionSession bulk(shape, 64, 0), plain(shape, 64, 0);
      const std::vector<float> in_bulk = bulk.flash(chain, rows), one = plain.step(chain, rows, {});
      for (size_t i = 0; i < in_bulk.size(); ++i) {
        const bool is_broken = i / kHead >= kBroken;
        ASSERT_EQ(std::isnan(in_bulk[i]), is_broken) << "row " << i / kHead << " key " << key;
        ASSERT_EQ(std::isnan(one[i]), is_broken) << "row " << i / kHead << " key " << key;
      }
    }
  }
}

TEST(CudaFlashAttention, RefusesWhatItHasNoTilesFor) {
  SPLITD_NEEDS_DEVICE();
  FlashJob job;
  job.m = kFlashRows + 1;
  job.d_head = 64;
  EXPECT_EQ(flash_attention(job, nullptr), cudaErrorInvalidValue);
  job.m = kFlashRows;
  job.d_head = kMostFlashDim + 1;
  EXPECT_EQ(flash_attention(job, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace splitd::kernels::cuda

// Attention on the GPU over long sessions and trees: against f64 attention over the rows as the
// cache rounded them, and bit for bit against the same rows elsewhere, alone and in other slots.
#include "tests/kernels/cuda/attention_session.h"

namespace splitd::kernels::cuda {
namespace {

class CudaAttention : public testing::TestWithParam<int> {};

const AttentionShape kShapes[] = {
    {},
    {.type = KvType::f32, .n_head = 3, .n_kv_head = 3, .d_head = 64},
    {.type = KvType::bf16, .n_head = 8, .n_kv_head = 1, .d_head = 80, .softcap = 5},
    {.type = KvType::q8, .n_head = 2, .n_kv_head = 1, .d_head = 128},
    {.type = KvType::f16, .n_head = 2, .n_kv_head = 1, .d_head = 36, .window = 100, .ring = 256},
    {.type = KvType::f16, .n_head = 2, .n_kv_head = 2, .d_head = 2, .window = 300, .ring = 448},
};

TEST_P(CudaAttention, LongSessionsAndTrees) {
  SPLITD_NEEDS_DEVICE();
  const AttentionShape& shape = kShapes[GetParam()];
  constexpr uint32_t kCommitted = 530, kChunk = 106, kPending = 8, kCtx = 600;
  std::mt19937 random(11);
  AttentionSession session(shape, kCtx, kPending);
  const size_t width = session.width(), result = shape.n_head * shape.d_head;
  const std::vector<float> rows = exact_values(kCommitted + 4, shape, random);
  const auto row_at = [&](size_t i) { return rows.data() + i * width; };

  std::vector<float> in_chunks;
  for (uint32_t begin = 0; begin < kCommitted; begin += kChunk) {
    std::vector<BatchRow> chunk;
    for (uint32_t at = begin; at < begin + kChunk; ++at) {
      chunk.push_back({nullptr, at, at, at + 1, 0});
    }
    const std::vector<float> got = session.step(chunk, {row_at(begin), row_at(begin + kChunk)}, {});
    in_chunks.insert(in_chunks.end(), got.begin(), got.end());
  }
  std::vector<const float*> line;
  for (uint32_t at = 0; at < kCommitted; ++at) {
    line.push_back(row_at(at));
    if (at % 37 != 0 && at + 1 != kCommitted) continue;
    const std::vector<double> exact = naive_attention(shape, line);
    for (size_t i = 0; i < result; ++i) {
      ASSERT_NEAR(in_chunks[at * result + i], exact[i], 1e-5) << "position " << at;
    }
  }

  // A tree of four: 0 and 1 under the last row, 2 under 0, 3 under 1; 1 and 3 lie in side slots.
  const std::vector<uint32_t> paths = {530, kCtx + 2, 530, 531, kCtx + 2, kCtx + 5};
  const std::vector<BatchRow> tree = {{nullptr, 530, 530, kCommitted, 0},
                                      {nullptr, 530, kCtx + 2, kCommitted, 1},
                                      {nullptr, 531, 531, kCommitted, 2},
                                      {nullptr, 531, kCtx + 5, kCommitted, 4}};
  const std::vector<float> all = session.step(tree, {row_at(530), row_at(534)}, paths);
  const std::vector<std::vector<size_t>> tails = {{530}, {531}, {530, 532}, {531, 533}};
  for (size_t i = 0; i < 4; ++i) {
    std::vector<const float*> to = line;
    for (const size_t at : tails[i]) to.push_back(row_at(at));
    const std::vector<double> exact = naive_attention(shape, to);
    for (size_t e = 0; e < result; ++e) {
      ASSERT_NEAR(all[i * result + e], exact[e], 1e-5) << "tree row " << i;
    }
  }
  // Row 3 and its parent, committed in a line instead.
  const std::vector<float> first =
      session.step({{nullptr, 530, 530, 531, 0}}, {row_at(531), row_at(532)}, {});
  const std::vector<float> second =
      session.step({{nullptr, 531, 531, 532, 0}}, {row_at(533), row_at(534)}, {});
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin() + result));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), all.begin() + 3 * result));
}

INSTANTIATE_TEST_SUITE_P(Setups, CudaAttention,
                         testing::Range(0, static_cast<int>(std::size(kShapes))));

}  // namespace
}  // namespace splitd::kernels::cuda

// Attention on the GPU over long sessions and trees: against f64 attention over the rows as the
// cache rounded them, and bit for bit against the same rows elsewhere, alone and in other slots.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/device_array.h"

namespace splitd::kernels::cuda {
namespace {

struct Shape {
  KvType type = KvType::f16;
  uint32_t n_head = 4;
  uint32_t n_kv_head = 2;
  uint32_t d_head = 20;
  uint32_t window = 0;
  uint32_t ring = 1024;
  float softcap = 0;
};

// One session in device memory. Rows are written by finish_qkv, without turning.
class Session {
 public:
  Session(const Shape& shape, uint32_t n_ctx, uint32_t max_pending)
      : shape_(shape),
        n_slot_(shape.ring + max_pending),
        cache_(std::vector<unsigned char>(2 * bytes(), 0)),
        views_(std::vector<KvView>{
            {cache_.get(), cache_.get() + bytes(), shape.ring, n_ctx, n_slot_, shape.type}}) {}

  size_t bytes() const {
    return size_t{shape_.n_kv_head} * n_slot_ * kv_row_bytes(shape_.type, shape_.d_head);
  }
  uint32_t width() const { return (shape_.n_head + 2 * shape_.n_kv_head) * shape_.d_head; }

  // Writes the rows' keys and values and attends; the result of each, (n_head, d_head).
  std::vector<float> step(std::vector<BatchRow> rows, const std::vector<float>& qkv,
                          const std::vector<uint32_t>& paths) {
    for (BatchRow& row : rows) row.layers = views_.get();
    const auto m = static_cast<uint32_t>(rows.size());
    const DeviceArray<BatchRow> device_rows(rows);
    const DeviceArray<uint32_t> device_paths(paths);
    const DeviceArray<float> x(qkv);
    const std::vector<float> turns(2, 1.0f);
    const DeviceArray<float> cos_sin(turns);
    QkvJob job;
    job.qkv = x.get();
    job.cos_sin = cos_sin.get();
    job.rows = device_rows.get();
    job.m = m;
    job.n_head = shape_.n_head;
    job.n_kv_head = shape_.n_kv_head;
    job.d_head = shape_.d_head;
    EXPECT_EQ(finish_qkv(job, nullptr), cudaSuccess);

    AttentionJob attend;
    for (const BatchRow& row : rows) {
      attend.n_split = std::max(attend.n_split, attention_splits(row.position, shape_.window));
    }
    const DeviceArray<unsigned char> partials(
        m * attention_partial_bytes(shape_.n_head, shape_.d_head, attend.n_split));
    const uint32_t padded = pad_k(shape_.n_head * shape_.d_head);
    const DeviceArray<float> out(m * padded);
    attend.q = x.get();
    attend.q_stride = width();
    attend.rows = device_rows.get();
    attend.paths = device_paths.get();
    attend.m = m;
    attend.n_head = shape_.n_head;
    attend.n_kv_head = shape_.n_kv_head;
    attend.d_head = shape_.d_head;
    attend.window = shape_.window;
    attend.scale = 0.3f;
    attend.softcap = shape_.softcap;
    attend.kv_type = shape_.type;
    attend.partials = partials.get();
    attend.out = {out.get(), ActivationType::f32};
    EXPECT_EQ(attention(attend, nullptr), cudaSuccess);
    const std::vector<float> all = out.read();
    std::vector<float> result;
    for (uint32_t row = 0; row < m; ++row) {
      result.insert(result.end(), all.begin() + row * padded,
                    all.begin() + row * padded + shape_.n_head * shape_.d_head);
      for (uint32_t i = shape_.n_head * shape_.d_head; i < padded; ++i) {
        EXPECT_EQ(all[row * padded + i], 0.0f) << "padding";
      }
    }
    return result;
  }

 private:
  Shape shape_;
  uint32_t n_slot_;
  DeviceArray<unsigned char> cache_;
  DeviceArray<KvView> views_;
};

// Position by position, f64, from the rows themselves.
std::vector<double> naive(const Shape& shape, const std::vector<const float*>& line) {
  const uint32_t d = shape.d_head, group = shape.n_head / shape.n_kv_head;
  const size_t last = line.size() - 1;
  const size_t lo = shape.window != 0 && last + 1 > shape.window ? last + 1 - shape.window : 0;
  std::vector<double> out;
  for (uint32_t h = 0; h < shape.n_head; ++h) {
    std::vector<double> p;
    double most = -INFINITY, sum = 0;
    for (size_t at = lo; at <= last; ++at) {
      double dot = 0;
      for (uint32_t e = 0; e < d; ++e) {
        dot += double{line[last][h * d + e]} * line[at][(shape.n_head + h / group) * d + e];
      }
      dot *= 0.3f;
      if (shape.softcap != 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
      p.push_back(dot);
      most = std::max(most, dot);
    }
    for (double& score : p) sum += score = std::exp(score - most);
    for (uint32_t e = 0; e < d; ++e) {
      double value = 0;
      for (size_t at = lo; at <= last; ++at) {
        value += p[at - lo] * line[at][(shape.n_head + shape.n_kv_head + h / group) * d + e];
      }
      out.push_back(value / sum);
    }
  }
  return out;
}

// Numbers that every type of cache holds exactly, q8 too: eighths with 127/8 in each group.
std::vector<float> exact_values(size_t n_row, const Shape& shape, std::mt19937& random) {
  const size_t width = size_t{shape.n_head + 2 * shape.n_kv_head} * shape.d_head;
  std::uniform_int_distribution<int> eighths(-127, 127);
  std::vector<float> out(n_row * width);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t e = i % shape.d_head;
    out[i] = e % 32 == 0 ? 127.0f / 64 : static_cast<float>(eighths(random)) / 64;
  }
  return out;
}

class CudaAttention : public testing::TestWithParam<int> {};

const Shape kShapes[] = {
    {},
    {.type = KvType::f32, .n_head = 3, .n_kv_head = 3, .d_head = 64},
    {.type = KvType::bf16, .n_head = 8, .n_kv_head = 1, .d_head = 80, .softcap = 5},
    {.type = KvType::q8, .n_head = 2, .n_kv_head = 1, .d_head = 128},
    {.type = KvType::f16, .n_head = 2, .n_kv_head = 1, .d_head = 36, .window = 100, .ring = 256},
    {.type = KvType::f16, .n_head = 2, .n_kv_head = 2, .d_head = 2, .window = 300, .ring = 448},
};

TEST_P(CudaAttention, LongSessionsAndTrees) {
  SPLITD_NEEDS_DEVICE();
  const Shape& shape = kShapes[GetParam()];
  constexpr uint32_t kCommitted = 530, kChunk = 106, kPending = 8, kCtx = 600;
  std::mt19937 random(11);
  Session session(shape, kCtx, kPending);
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
    const std::vector<double> exact = naive(shape, line);
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
    const std::vector<double> exact = naive(shape, to);
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

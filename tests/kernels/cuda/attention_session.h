// Owns: what tests of attention on the GPU share: a session's keys and values in device memory,
// rows of numbers that every type of cache holds exactly, and f64 attention over the rows
// themselves.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/flash_attention.h"
#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/device_array.h"

namespace splitd::kernels::cuda {

struct AttentionShape {
  KvType type = KvType::f16;
  uint32_t n_head = 4;
  uint32_t n_kv_head = 2;
  uint32_t d_head = 20;
  uint32_t window = 0;
  uint32_t ring = 1024;
  float softcap = 0;
  float scale = 0.3f;
};

// One session in device memory. Rows are written by finish_qkv, without turning.
class AttentionSession {
 public:
  AttentionSession(const AttentionShape& shape, uint32_t n_ctx, uint32_t max_pending)
      : shape_(shape),
        n_slot_(shape.ring + max_pending),
        cache_(2 * bytes()),
        views_(std::vector<KvView>{
            {cache_.get(), cache_.get() + bytes(), shape.ring, n_ctx, n_slot_, shape.type}}) {}

  size_t bytes() const {
    return size_t{shape_.n_kv_head} * n_slot_ * kv_row_bytes(shape_.type, shape_.d_head);
  }
  uint32_t width() const { return (shape_.n_head + 2 * shape_.n_kv_head) * shape_.d_head; }

  // Writes the rows' keys and values and attends; the result of each, (n_head, d_head).
  std::vector<float> step(std::vector<BatchRow> rows, const std::vector<float>& qkv,
                          const std::vector<uint32_t>& paths) {
    const Batch batch = write(rows, qkv);
    const DeviceArray<uint32_t> device_paths(paths);
    AttentionJob job;
    for (const BatchRow& row : rows) {
      job.n_split = std::max(job.n_split, attention_splits(row.position, shape_.window));
    }
    const DeviceArray<unsigned char> partials(
        rows.size() * attention_partial_bytes(shape_.n_head, shape_.d_head, job.n_split));
    job.paths = device_paths.get();
    job.partials = partials.get();
    describe(job, batch);
    EXPECT_EQ(attention(job, nullptr), cudaSuccess);
    return results(batch);
  }

  // The same, as rows of a bulk chunk.
  std::vector<float> flash(std::vector<BatchRow> rows, const std::vector<float>& qkv) {
    const Batch batch = write(rows, qkv);
    FlashJob job;
    describe(job, batch);
    EXPECT_EQ(flash_attention(job, nullptr), cudaSuccess);
    return results(batch);
  }

 private:
  struct Batch {
    DeviceArray<BatchRow> rows;
    DeviceArray<float> qkv;
    DeviceArray<float> out;
    uint32_t m;
  };

  uint32_t padded() const { return pad_k(shape_.n_head * shape_.d_head); }

  Batch write(std::vector<BatchRow>& rows, const std::vector<float>& qkv) {
    for (BatchRow& row : rows) row.layers = views_.get();
    const auto m = static_cast<uint32_t>(rows.size());
    Batch batch{DeviceArray<BatchRow>(rows), DeviceArray<float>(qkv),
                DeviceArray<float>(size_t{m} * padded()), m};
    const std::vector<float> turns(2, 1.0f);
    const DeviceArray<float> cos_sin(turns);
    QkvJob job;
    job.qkv = batch.qkv.get();
    job.cos_sin = cos_sin.get();
    job.rows = batch.rows.get();
    job.m = m;
    job.n_head = shape_.n_head;
    job.n_kv_head = shape_.n_kv_head;
    job.d_head = shape_.d_head;
    EXPECT_EQ(finish_qkv(job, nullptr), cudaSuccess);
    return batch;
  }

  template <class Job>
  void describe(Job& job, const Batch& batch) const {
    job.q = batch.qkv.get();
    job.q_stride = width();
    job.rows = batch.rows.get();
    job.m = batch.m;
    job.n_head = shape_.n_head;
    job.n_kv_head = shape_.n_kv_head;
    job.d_head = shape_.d_head;
    job.window = shape_.window;
    job.scale = shape_.scale;
    job.softcap = shape_.softcap;
    job.kv_type = shape_.type;
    job.out = {batch.out.get(), ActivationType::f32};
  }

  std::vector<float> results(const Batch& batch) const {
    const std::vector<float> all = batch.out.read();
    const size_t n = size_t{shape_.n_head} * shape_.d_head;
    std::vector<float> out;
    for (size_t row = 0; row < batch.m; ++row) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * padded());
      out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(n));
      for (size_t i = n; i < padded(); ++i) EXPECT_EQ(all[row * padded() + i], 0.0f) << "padding";
    }
    return out;
  }

  AttentionShape shape_;
  uint32_t n_slot_;
  DeviceArray<unsigned char> cache_;
  DeviceArray<KvView> views_;
};

// Position by position, f64, from the rows themselves.
inline std::vector<double> naive_attention(const AttentionShape& shape,
                                           const std::vector<const float*>& line) {
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
      dot *= shape.scale;
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
inline std::vector<float> exact_values(size_t n_row, const AttentionShape& shape,
                                       std::mt19937& random) {
  const size_t width = size_t{shape.n_head + 2 * shape.n_kv_head} * shape.d_head;
  std::uniform_int_distribution<int> eighths(-127, 127);
  std::vector<float> out(n_row * width);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t e = i % shape.d_head;
    out[i] = e % 32 == 0 ? 127.0f / 64 : static_cast<float>(eighths(random)) / 64;
  }
  return out;
}

}  // namespace splitd::kernels::cuda

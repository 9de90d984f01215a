// Rows → one block of bytes behind cuda_batch.h.
#include "runtime/engine/cuda/cuda_batch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/attention.h"
#include "kernels/kernels.h"
#include "runtime/engine/cuda/cuda_kv.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

constexpr size_t kPathRoom = 64;  // entries for each row of a bucket: trees are rarely as deep

size_t align_up(size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

}  // namespace

CudaBatch::CudaBatch(const ModelConfig& config, uint32_t max_rows)
    : config_(&config), max_rows_(max_rows) {
  for (const RopeConfig& rope : config.ropes) {
    frequencies_.push_back(rope_frequencies_of(rope));
    n_rotary_ += rope.n_rotary;
  }
  segments_.reserve(max_rows);
}

Result<CudaBatch> CudaBatch::make(const ModelConfig& config, uint32_t max_rows) {
  CudaBatch out(config, max_rows);
  SPLITD_TRY(out.reserve_paths(0));
  return out;
}

CudaBatch::Layout CudaBatch::layout(size_t m, size_t n_path) const {
  Layout out;
  out.turns = align_up(m * sizeof(gpu::BatchRow));
  out.paths = out.turns + align_up(m * n_rotary_ * sizeof(float));
  out.hidden = out.paths + align_up(n_path * sizeof(uint32_t));
  out.end = out.hidden + m * config_->d_model * sizeof(float);
  return out;
}

Status CudaBatch::reserve_paths(uint32_t max_pending) {
  const size_t m = max_rows_;
  const size_t bytes = layout(m, m * std::max<size_t>(max_pending, kPathRoom)).end;
  if (bytes <= host_.bytes()) return {};
  SPLITD_ASSIGN(PinnedBuffer host, PinnedBuffer::make(bytes, "a batch"));
  SPLITD_ASSIGN(DeviceBuffer device, DeviceBuffer::make(bytes, "a batch"));
  // Dead rows are computed from what lies there: NaN, so that one who reads them shows.
  SPLITD_TRY(cuda_status(cudaMemset(device.data(), 0xff, bytes), "clear the room for a batch"));
  SPLITD_TRY(cuda_status(cudaStreamSynchronize(nullptr), "clear the room for a batch"));
  std::memset(host.data(), 0, bytes);
  host_ = std::move(host);
  device_ = std::move(device);
  return {};
}

// Cosines and sines of a row's position, for every rope.
void CudaBatch::add_turns(const BatchRow& row, float* turns) const {
  const uint32_t n_ctx = static_cast<const CudaKv*>(row.kv)->shape().n_ctx;
  for (size_t i = 0; i < config_->ropes.size(); ++i) {
    const RopeConfig& rope = config_->ropes[i];
    const size_t n = rope.n_rotary / 2;
    const bool is_long = rope.kind == RopeKind::longrope && n_ctx > rope.original_ctx;
    const auto& set = is_long ? frequencies_[i].long_session : frequencies_[i].short_session;
    kernels::rope_table(set.data(), n, row.position, rope.attention_factor, turns, turns + n);
    turns += rope.n_rotary;
  }
}

void CudaBatch::add_to_segments(const BatchRow& row, uint32_t index) {
  const gpu::KvType type = static_cast<const CudaKv*>(row.kv)->type();
  if (segments_.empty() || segments_.back().kv_type != type) {
    segments_.push_back({.begin = index, .end = index, .kv_type = type});
  }
  CudaSegment& last = segments_.back();
  last.end = index + 1;
  last.n_split = std::max(last.n_split, gpu::attention_splits(row.position, 0));
}

void CudaBatch::describe(std::span<const BatchRow> rows, const Layout& at) {
  auto* places = reinterpret_cast<gpu::BatchRow*>(host_.data());
  auto* turns = reinterpret_cast<float*>(host_.data() + at.turns);
  auto* paths = reinterpret_cast<uint32_t*>(host_.data() + at.paths);
  uint32_t n_path = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const BatchRow& row = rows[i];
    places[i] = {.layers = static_cast<const CudaKv*>(row.kv)->views(),
                 .position = row.position,
                 .slot = row.slot,
                 .n_committed = row.n_committed,
                 .path = n_path};
    const uint32_t n_pending = row.position + 1 - row.n_committed;
    std::copy_n(row.path, n_pending, paths + n_path);
    n_path += n_pending;
    add_turns(row, turns + i * n_rotary_);
  }
  std::fill(places + rows.size(), places + step_.m, gpu::BatchRow{});
}

cudaError_t CudaBatch::send(std::span<const BatchRow> rows, const float* hidden, uint32_t bucket,
                            cudaStream_t stream) {
  size_t n_path = 0;
  segments_.clear();
  for (uint32_t i = 0; i < rows.size(); ++i) {
    n_path += rows[i].position + 1 - rows[i].n_committed;
    add_to_segments(rows[i], i);
  }
  is_fixed_ = segments_.size() == 1 && n_path <= bucket * kPathRoom;
  step_.m = is_fixed_ ? bucket : static_cast<uint32_t>(rows.size());
  segments_.back().end = step_.m;
  const Layout at = layout(step_.m, is_fixed_ ? bucket * kPathRoom : n_path);
  if (at.end > host_.bytes()) return cudaErrorInvalidValue;
  describe(rows, at);
  n_row_ = rows.size();
  hidden_at_ = at.hidden;
  const size_t hidden_bytes = sizeof(float) * n_row_ * config_->d_model;
  std::memcpy(host_.data() + at.hidden, hidden, hidden_bytes);

  std::byte* device = device_.as<std::byte>();
  step_.x = reinterpret_cast<float*>(device + at.hidden);
  step_.rows = reinterpret_cast<const gpu::BatchRow*>(device);
  step_.paths = reinterpret_cast<const uint32_t*>(device + at.paths);
  step_.cos_sin = reinterpret_cast<const float*>(device + at.turns);
  step_.segments = segments_;
  step_.bulk = rows.size() == kBulkRows && rows[0].bulk;
  return cudaMemcpyAsync(device, host_.data(), at.hidden + hidden_bytes, cudaMemcpyHostToDevice,
                         stream);
}

cudaError_t CudaBatch::fetch(cudaStream_t stream) {
  const std::span<const float> to = hidden();
  return cudaMemcpyAsync(const_cast<float*>(to.data()), step_.x, to.size_bytes(),
                         cudaMemcpyDeviceToHost, stream);
}

std::span<const float> CudaBatch::hidden() const {
  const std::byte* at = host_.data() + hidden_at_;
  return {reinterpret_cast<const float*>(at), n_row_ * config_->d_model};
}

}  // namespace splitd

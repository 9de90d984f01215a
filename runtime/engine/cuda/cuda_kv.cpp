// Layout behind cuda_kv.h.
#include "runtime/engine/cuda/cuda_kv.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine/cpu_kv.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

gpu::KvType device_type(KvType type) {
  switch (type) {
    case KvType::f32:
      return gpu::KvType::f32;
    case KvType::f16:
      return gpu::KvType::f16;
    case KvType::bf16:
      return gpu::KvType::bf16;
    case KvType::q8:
      return gpu::KvType::q8;
  }
  return gpu::KvType::f16;
}

// Views whose pointers are offsets into the one block; returns its bytes.
uint64_t plan(const ModelConfig& config, LayerRange range, const KvShape& shape,
              std::vector<gpu::KvView>& views, std::vector<uint64_t>& begins) {
  const uint64_t row = gpu::kv_row_bytes(device_type(shape.type), config.d_head);
  uint64_t bytes = 0;
  for (uint32_t i = range.begin; i < range.end; ++i) {
    const uint64_t window = config.layers[i].window;
    uint64_t ring = (uint64_t{shape.n_ctx} + 63) / 64 * 64;
    if (window != 0) {
      ring = std::min(ring, (window + shape.max_pending + kWindowSlack + 63) / 64 * 64);
    }
    const uint64_t n_slot = ring + shape.max_pending;
    views.push_back({.ring = static_cast<uint32_t>(ring),
                     .n_ctx = shape.n_ctx,
                     .n_slot = static_cast<uint32_t>(n_slot),
                     .type = device_type(shape.type)});
    begins.push_back(bytes);
    bytes += 2 * n_slot * row * config.n_kv_head;
  }
  return bytes;
}

}  // namespace

uint64_t CudaKv::bytes_for(const ModelConfig& config, LayerRange range, const KvShape& shape) {
  std::vector<gpu::KvView> views;
  std::vector<uint64_t> begins;
  return plan(config, range, shape, views, begins);
}

Result<std::unique_ptr<CudaKv>> CudaKv::make(const ModelConfig& config, LayerRange range,
                                             const KvShape& shape, cudaStream_t stream) {
  std::vector<gpu::KvView> views;
  std::vector<uint64_t> begins;
  const uint64_t bytes = plan(config, range, shape, views, begins);
  const std::string what = "the KV cache of " + std::to_string(shape.n_ctx) + " rows";
  auto kv = std::unique_ptr<CudaKv>(new CudaKv);
  kv->shape_ = shape;
  kv->type_ = device_type(shape.type);
  SPLITD_ASSIGN(kv->data_, DeviceBuffer::make(bytes, what));
  SPLITD_ASSIGN(kv->views_, DeviceBuffer::make(views.size() * sizeof(gpu::KvView), what));
  const uint64_t row = gpu::kv_row_bytes(kv->type_, config.d_head);
  for (size_t i = 0; i < views.size(); ++i) {
    views[i].k = kv->data_.as<unsigned char>() + begins[i];
    views[i].v = views[i].k + views[i].n_slot * row * config.n_kv_head;
  }
  if (bytes == 0) return kv;
  // A slot that was never written may be read, and is then ignored: it must not hold NaN.
  SPLITD_TRY(cuda_status(cudaMemsetAsync(kv->data_.data(), 0, bytes, stream), "clear a KV cache"));
  SPLITD_TRY(cuda_status(
      cudaMemcpyAsync(kv->views_.data(), views.data(), views.size() * sizeof(gpu::KvView),
                      cudaMemcpyHostToDevice, stream),
      "describe a KV cache"));
  SPLITD_TRY(cuda_status(cudaStreamSynchronize(stream), "clear a KV cache"));
  return kv;
}

}  // namespace splitd

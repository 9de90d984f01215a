// Layout and mapping behind cpu_kv.h.
#include "runtime/engine/cpu_kv.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "runtime/base/files.h"

namespace splitd {
namespace {

constexpr uint64_t kAlign = 64;  // bytes; a cache line, and what the kernels read fastest

uint64_t align_up(uint64_t value, uint64_t step) {
  return (value + step - 1) / step * step;
}

kernels::KvType kernel_type(KvType type) {
  switch (type) {
    case KvType::f32:
      return kernels::KvType::f32;
    case KvType::f16:
      return kernels::KvType::f16;
    case KvType::bf16:
      return kernels::KvType::bf16;
    case KvType::q8:
      return kernels::KvType::q8;
  }
  return kernels::KvType::f32;
}

}  // namespace

SlotMap CpuKv::slot_map(uint64_t window, const KvShape& shape) {
  uint64_t ring = align_up(shape.n_ctx, 64);
  if (window != 0) ring = std::min(ring, align_up(window + shape.max_pending + kWindowSlack, 64));
  return {static_cast<uint32_t>(ring), shape.n_ctx};
}

CpuKv::Plan CpuKv::plan(const ModelConfig& config, LayerRange range, const KvShape& shape) {
  Plan out;
  const kernels::KvType type = kernel_type(shape.type);
  for (uint32_t i = range.begin; i < range.end; ++i) {
    Layer layer;
    layer.slots = slot_map(config.layers[i].window, shape);
    const uint64_t n_slot = uint64_t{layer.slots.ring} + shape.max_pending;
    layer.k_bytes = align_up(kernels::kv_k_bytes(type, config.d_head, n_slot), kAlign);
    layer.v_bytes = align_up(kernels::kv_v_bytes(type, config.d_head, n_slot), kAlign);
    layer.begin = out.bytes;
    out.bytes += config.n_kv_head * (layer.k_bytes + layer.v_bytes);
    out.layers.push_back(layer);
  }
  return out;
}

uint64_t CpuKv::bytes_for(const ModelConfig& config, LayerRange range, const KvShape& shape) {
  return plan(config, range, shape).bytes;
}

uint64_t CpuKv::read_bytes(const ModelConfig& config, LayerRange range, KvType type,
                           uint32_t position) {
  uint64_t bytes = 0;
  for (uint32_t i = range.begin; i < range.end; ++i) {
    uint64_t n_row = uint64_t{position} + 1;
    if (config.layers[i].window != 0) n_row = std::min(n_row, config.layers[i].window);
    bytes += config.n_kv_head * (kernels::kv_k_bytes(kernel_type(type), config.d_head, n_row) +
                                 kernels::kv_v_bytes(kernel_type(type), config.d_head, n_row));
  }
  return bytes;
}

Result<std::unique_ptr<CpuKv>> CpuKv::make(const ModelConfig& config, LayerRange range,
                                           const KvShape& shape) {
  Plan planned = plan(config, range, shape);
  auto kv = std::unique_ptr<CpuKv>(new CpuKv);
  kv->bytes_ = planned.bytes;
  kv->first_layer_ = range.begin;
  kv->n_kv_head_ = config.n_kv_head;
  kv->shape_ = shape;
  kv->type_ = kernel_type(shape.type);
  kv->layers_ = std::move(planned.layers);
  if (kv->bytes_ == 0) return kv;
  void* data =
      ::mmap(nullptr, kv->bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return system_error("cannot reserve the KV cache of " + std::to_string(shape.n_ctx) +
                        " rows, " + std::to_string(kv->bytes_ >> 20) +
                        " MiB; a smaller --ctx or --kv q8 takes less");
  }
  ::madvise(data, kv->bytes_, MADV_HUGEPAGE);
  kv->data_ = static_cast<std::byte*>(data);
  return kv;
}

CpuKv::~CpuKv() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

std::byte* CpuKv::k(uint32_t layer, uint32_t kv_head) const {
  const Layer& l = layers_[layer - first_layer_];
  return data_ + l.begin + kv_head * l.k_bytes;
}

std::byte* CpuKv::v(uint32_t layer, uint32_t kv_head) const {
  const Layer& l = layers_[layer - first_layer_];
  return data_ + l.begin + n_kv_head_ * l.k_bytes + kv_head * l.v_bytes;
}

}  // namespace splitd

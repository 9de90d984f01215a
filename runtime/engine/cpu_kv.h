// Owns: the keys and values of one session in memory: for each layer and kv head one K and one V
// cache in the kernels' own layout. Layers with a window keep a ring of positions. Everything is
// reserved at once as one zeroed mapping; pages that no row ever reached cost no memory.
// Not thread-safe, except that threads may work on different heads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attention.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"

namespace splitd {

// The rows beyond the window that a ring keeps, besides the pending ones: how far a session can be
// rewound, and the most rows of it that one pass may hold.
inline constexpr uint32_t kWindowSlack = 1024;

// Where the slots of a timeline lie in a layer's cache.
struct SlotMap {
  uint32_t ring = 0;   // slots for positions
  uint32_t n_ctx = 0;  // timeline slots from here on are those of pending side branches

  uint32_t operator()(uint32_t slot) const {
    return slot < n_ctx ? slot % ring : ring + (slot - n_ctx);
  }
};

class CpuKv final : public Kv {
 public:
  static uint64_t bytes_for(const ModelConfig& config, LayerRange range, const KvShape& shape);
  // What attention reads of them for one row with `position` rows before it.
  static uint64_t read_bytes(const ModelConfig& config, LayerRange range, KvType type,
                             uint32_t position);
  static Result<std::unique_ptr<CpuKv>> make(const ModelConfig& config, LayerRange range,
                                             const KvShape& shape);
  ~CpuKv() override;

  uint64_t bytes() const override { return bytes_; }
  kernels::KvType type() const { return type_; }
  const SlotMap& slots(uint32_t layer) const { return layers_[layer - first_layer_].slots; }
  SlotMap slots_of_window(uint64_t window) const { return slot_map(window, shape_); }
  const KvShape& shape() const { return shape_; }
  std::byte* k(uint32_t layer, uint32_t kv_head) const;
  std::byte* v(uint32_t layer, uint32_t kv_head) const;

 private:
  struct Layer {
    SlotMap slots;
    uint64_t k_bytes;  // of one kv head
    uint64_t v_bytes;
    uint64_t begin;  // in the mapping: all heads' K, then all heads' V
  };
  struct Plan {
    std::vector<Layer> layers;
    uint64_t bytes = 0;
  };
  static SlotMap slot_map(uint64_t window, const KvShape& shape);
  static Plan plan(const ModelConfig& config, LayerRange range, const KvShape& shape);

  CpuKv() = default;

  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  uint32_t first_layer_ = 0;
  uint32_t n_kv_head_ = 0;
  KvShape shape_;
  kernels::KvType type_ = kernels::KvType::f16;
  std::vector<Layer> layers_;
};

}  // namespace splitd

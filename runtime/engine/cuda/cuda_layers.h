// Owns: the layer function as kernels in a stream, and the room on the device that lies between
// them. What is launched, and with which arguments, follows from a CudaStep and a range of layers,
// never from what lies in device memory. Room is made once, and for longer sessions when they are
// opened; nothing is allocated per batch. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cuda/types.h"
#include "runtime/base/result.h"
#include "runtime/engine/cuda/cuda_bulk.h"
#include "runtime/engine/cuda/cuda_weights.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/model/config.h"

namespace splitd {

// Rows next to each other whose KV has one type.
struct CudaSegment {
  uint32_t begin = 0;
  uint32_t end = 0;
  kernels::cuda::KvType kv_type = kernels::cuda::KvType::f16;
  uint32_t n_split = 0;  // of attention, at most, for any of them in a layer without a window
};

// A batch as the kernels' launches see it; pointers are the device's.
struct CudaStep {
  uint32_t m = 0;
  float* x = nullptr;  // (m, d_model)
  const kernels::cuda::BatchRow* rows = nullptr;
  const uint32_t* paths = nullptr;
  const float* cos_sin = nullptr;  // (m, rotary values of all ropes)
  std::span<CudaSegment> segments;
  bool bulk = false;  // a bulk chunk: kBulkRows rows of one session
};

class CudaLayers {
 public:
  // Both must outlive it. Room for batches of max_rows; without KV: reserve_attention().
  static Result<CudaLayers> make(const ModelConfig& config, const CudaWeights& weights,
                                 uint32_t max_rows);
  // Computes bulk chunks, and must outlive it; nullptr: they are rows like any.
  void use_bulk(CudaBulk* bulk) { bulk_ = bulk; }

  // For sessions of so many positions. Requires that nothing runs.
  Status reserve_attention(uint32_t n_ctx);
  uint32_t most_splits() const { return most_splits_; }  // of attention, that there is room for
  uint64_t attention_bytes() const { return partials_.bytes(); }

  // The layers of `run`, a part of `whole`, which is what the batch goes through.
  cudaError_t run(const CudaStep& step, LayerRange run, LayerRange whole, cudaStream_t stream);

  // ---- The head.

  // The final norm of m rows, unrounded, to normed(): rows of pad_k(d_model).
  cudaError_t norm(float* x, uint32_t m, cudaStream_t stream);
  const float* normed() const { return act_.as<float>(); }
  // Normed rows to logits (m, n_vocab).
  cudaError_t project(const float* normed, uint32_t m, float* logits, cudaStream_t stream);
  // (max_rows, d_model), free between batches.
  float* spare_rows() const { return delta_.as<float>(); }

 private:
  // The first error; what is launched after it comes to nothing.
  struct Launches {
    cudaStream_t stream = nullptr;
    CudaBulk* bulk = nullptr;  // for products
    cudaError_t error = cudaSuccess;
    void check(cudaError_t from) {
      if (error == cudaSuccess) error = from;
    }
  };

  CudaLayers(const ModelConfig& config, const CudaWeights& weights, uint32_t max_rows);
  Status reserve();
  uint32_t d_qkv() const { return (config_->n_head + 2 * config_->n_kv_head) * config_->d_head; }
  void multiply(Launches& to, const CudaProducts& products, uint32_t m, const void* a, float* c,
                size_t c_stride);
  void attend(Launches& to, const CudaStep& step, const CudaLayer& layer, uint32_t index);
  void attend_rows(Launches& to, const CudaStep& step, const CudaSegment& rows,
                   const CudaLayer& layer, uint32_t index);
  void attend_bulk(Launches& to, const CudaStep& step, const CudaLayer& layer, uint32_t index);
  void feed_forward(Launches& to, const CudaStep& step, const CudaLayer& layer);
  void experts(Launches& to, const CudaStep& step, const CudaLayer& layer);

  const ModelConfig* config_;
  const CudaWeights* weights_;
  CudaBulk* bulk_ = nullptr;
  uint32_t max_rows_;
  size_t n_rotary_ = 0;  // of all ropes
  uint32_t most_splits_ = 1;
  DeviceBuffer act_, qkv_, delta_, gate_up_, wide_act_, partials_;
  DeviceBuffer scores_, expert_ids_, expert_weights_, expert_lists_, expert_counts_, expert_out_;
};

}  // namespace splitd

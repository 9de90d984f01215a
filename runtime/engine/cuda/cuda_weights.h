// Owns: the weights of a range of layers in device memory, in the form that the kernels take:
// matrices with rows padded, norms and biases as floats. Uploaded from the mapped files through two
// pinned buffers, so that reading overlaps with copying. Immutable.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/types.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace splitd {

// Matrices that multiply the same rows; their columns stand side by side.
struct CudaProducts {
  kernels::cuda::Matrix w[kernels::cuda::kMostMatrices];
  uint32_t n_matrix = 0;
  kernels::cuda::ActivationType form = kernels::cuda::ActivationType::f32;  // that suits them all

  uint32_t n() const {
    uint32_t out = 0;
    for (uint32_t i = 0; i < n_matrix; ++i) out += w[i].n;
    return out;
  }
};

// The same matrices of every expert, in device memory: kMostMatrices each.
struct CudaExperts {
  const kernels::cuda::Matrix* w = nullptr;
  uint32_t n_matrix = 0;
  uint32_t n = 0;
  kernels::cuda::WeightType type = kernels::cuda::WeightType::f32;
  kernels::cuda::ActivationType form = kernels::cuda::ActivationType::f32;
};

struct CudaLayer {
  // nullptr: there is none
  const float* attn_norm = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  const float* attn_post_norm = nullptr;
  const float* mlp_norm = nullptr;
  const float* mlp_post_norm = nullptr;
  const float* qkv_bias = nullptr;
  const float* o_bias = nullptr;
  const float* gate_up_bias = nullptr;
  const float* down_bias = nullptr;
  CudaProducts qkv, o, gate_up, down;
  CudaProducts router;  // with experts, instead of gate_up and down
  CudaExperts expert_gate_up, expert_down;
};

class CudaWeights {
 public:
  // `exact`: every product takes activations as f32.
  static Result<CudaWeights> upload(const ModelConfig& config, const ModelWeights& weights,
                                    bool exact, cudaStream_t stream, const ProgressFn& progress);

  LayerRange range() const { return range_; }
  const CudaLayer& layer(uint32_t index) const { return layers_[index - range_.begin]; }
  const float* norm() const { return norm_; }
  const CudaProducts& head() const { return head_; }  // no matrix: not here
  bool qk_interleaved() const { return qk_interleaved_; }
  uint64_t bytes() const { return arena_.bytes(); }

 private:
  class Uploader;

  LayerRange range_;
  std::vector<CudaLayer> layers_;
  const float* norm_ = nullptr;
  CudaProducts head_;
  bool qk_interleaved_ = false;
  DeviceArena arena_;
};

}  // namespace splitd

// Owns: the weights of a range of layers in the form that the CPU kernels take: matrices and norms
// as views into the mapped files, or into what CpuPanels has made of them, biases as floats. What
// is stored at an address that its type does not allow is copied once. Immutable; const is
// thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/rows.h"
#include "runtime/base/result.h"
#include "runtime/engine/cpu_matmul.h"
#include "runtime/engine/cpu_panels.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace splitd {

struct CpuNorm {
  const void* w = nullptr;  // nullptr: there is none
  kernels::WeightType type = kernels::WeightType::f32;
};

struct CpuExpert {
  CpuMatrix gate, up, down;
};

struct CpuLayer {
  CpuNorm attn_norm, q_norm, k_norm, attn_post_norm, mlp_norm, mlp_post_norm;
  std::vector<CpuMatrix> qkv;   // one fused matrix, or q, k, v: the rows stand in this order
  std::vector<float> qkv_bias;  // of all of them, or empty
  CpuMatrix o;
  std::vector<float> o_bias;
  std::vector<CpuMatrix> gate_up;  // one fused matrix, or gate, up; empty in a layer of experts
  std::vector<float> gate_up_bias;
  CpuMatrix down;
  std::vector<float> down_bias;
  CpuMatrix router;
  std::vector<CpuExpert> experts;
};

class CpuWeights {
 public:
  static Result<CpuWeights> make(const ModelConfig& config, const ModelWeights& weights);

  // Has every matrix that rows are multiplied by laid out; an embedding that is not the head stays
  // where it is, for few of its rows are ever read.
  Status lay_out(CpuPanels& panels, const ProgressFn& progress);
  // All that rows are multiplied by, the head last where it is here.
  std::vector<CpuMatrix*> matrices();

  const CpuLayer& layer(uint32_t index) const { return layers_[index - range_.begin]; }
  LayerRange range() const { return range_; }
  const CpuMatrix& embed() const { return embed_; }  // no data: not here
  const CpuMatrix& head() const { return head_; }
  const CpuNorm& norm() const { return norm_; }
  bool norm_plus_one() const { return norm_plus_one_; }
  // The rows of each head of q and k stand pair by pair: weights.h.
  bool qk_interleaved() const { return qk_interleaved_; }

 private:
  Result<CpuMatrix> matrix(const TensorView& view);
  Result<CpuNorm> norm(const TensorView& view);
  Status layer(const ModelConfig& config, const LayerWeights& from, bool moe, CpuLayer& to);

  LayerRange range_;
  std::vector<CpuLayer> layers_;
  CpuMatrix embed_;
  CpuMatrix head_;
  CpuNorm norm_;
  bool norm_plus_one_ = false;
  bool qk_interleaved_ = false;
  std::deque<AlignedBuffer> copies_;
};

}  // namespace splitd

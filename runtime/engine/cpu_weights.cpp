// Views → matrices behind cpu_weights.h.
#include "runtime/engine/cpu_weights.h"

#include <cstring>
#include <string>

#include "kernels/quantised.h"
#include "runtime/base/float16.h"
#include "runtime/engine/weight_type.h"

namespace splitd {
namespace {

// What is no matrix is never quantised.
Result<kernels::WeightType> vector_type(DType dtype) {
  SPLITD_ASSIGN(const kernels::WeightType type, weight_type(dtype));
  if (!kernels::is_quantised(type)) return type;
  return model_error("a vector of type " + std::string(dtype_name(dtype)) +
                     " cannot be computed with; F32, BF16 and F16 can");
}

// Appends the vector as floats; a view without data appends nothing.
Status append_floats(const TensorView& view, std::vector<float>& out) {
  if (view.data == nullptr) return {};
  SPLITD_ASSIGN(const kernels::WeightType type, vector_type(view.dtype));
  const size_t count = view.shape.empty() ? 1 : view.shape[0];
  for (size_t i = 0; i < count; ++i) {
    if (type == kernels::WeightType::f32) {
      float value;
      std::memcpy(&value, view.data + 4 * i, 4);
      out.push_back(value);
      continue;
    }
    uint16_t bits;
    std::memcpy(&bits, view.data + 2 * i, 2);
    out.push_back(type == kernels::WeightType::bf16 ? to_f32(bf16{bits}) : to_f32(f16{bits}));
  }
  return {};
}

}  // namespace

Result<CpuMatrix> CpuWeights::matrix(const TensorView& view) {
  if (view.data == nullptr) return CpuMatrix();
  SPLITD_ASSIGN(const kernels::WeightType type, weight_type(view.dtype));
  CpuMatrix out{.data = view.data,
                .type = type,
                .n = view.shape[0],
                .k = view.shape.size() > 1 ? view.shape[1] : 1};
  if (kernels::is_quantised(type)) {
    if (out.k % kernels::block_values(type) == 0 &&
        (!kernels::is_paneled(type) || out.n % kernels::kPanelRows == 0)) {
      return out;
    }
    return model_error("a matrix of " + shape_text(view.shape) + " cannot be " +
                       kernels::type_name(type));
  }
  const size_t size = type == kernels::WeightType::f32 ? 4 : 2;
  if (reinterpret_cast<uintptr_t>(view.data) % size != 0) {
    std::byte* copy = copies_.emplace_back().bytes(view.bytes);
    std::memcpy(copy, view.data, view.bytes);
    out.data = copy;
  }
  return out;
}

Result<CpuNorm> CpuWeights::norm(const TensorView& view) {
  if (view.data == nullptr) return CpuNorm();
  SPLITD_ASSIGN(const kernels::WeightType type, vector_type(view.dtype));
  SPLITD_ASSIGN(const CpuMatrix vector, matrix(view));
  return CpuNorm{vector.data, type};
}

Status CpuWeights::layer(const ModelConfig& config, const LayerWeights& from, bool moe,
                         CpuLayer& to) {
  SPLITD_ASSIGN(to.attn_norm, norm(from.attn_norm));
  SPLITD_ASSIGN(to.q_norm, norm(from.q_norm));
  SPLITD_ASSIGN(to.k_norm, norm(from.k_norm));
  SPLITD_ASSIGN(to.attn_post_norm, norm(from.attn_post_norm));
  SPLITD_ASSIGN(to.mlp_norm, norm(from.mlp_norm));
  SPLITD_ASSIGN(to.mlp_post_norm, norm(from.mlp_post_norm));
  SPLITD_ASSIGN(to.o, matrix(from.o));
  SPLITD_TRY(append_floats(from.o_bias, to.o_bias));

  const auto append = [&](const TensorView& view, std::vector<CpuMatrix>& matrices) -> Status {
    SPLITD_ASSIGN(const CpuMatrix one, matrix(view));
    matrices.push_back(one);
    return {};
  };
  if (from.qkv.data != nullptr) {
    SPLITD_TRY(append(from.qkv, to.qkv));
  } else {
    for (const TensorView* view : {&from.q, &from.k, &from.v}) SPLITD_TRY(append(*view, to.qkv));
  }
  for (const TensorView* view : {&from.q_bias, &from.k_bias, &from.v_bias}) {
    SPLITD_TRY(append_floats(*view, to.qkv_bias));
  }

  if (!moe) {
    if (from.gate_up.data != nullptr) {
      SPLITD_TRY(append(from.gate_up, to.gate_up));
    } else {
      for (const TensorView* view : {&from.gate, &from.up}) SPLITD_TRY(append(*view, to.gate_up));
    }
    for (const TensorView* view : {&from.gate_bias, &from.up_bias}) {
      SPLITD_TRY(append_floats(*view, to.gate_up_bias));
    }
    SPLITD_ASSIGN(to.down, matrix(from.down));
    return append_floats(from.down_bias, to.down_bias);
  }
  SPLITD_ASSIGN(to.router, matrix(from.router));
  for (uint32_t e = 0; e < config.n_expert; ++e) {
    CpuExpert expert;
    SPLITD_ASSIGN(expert.gate, matrix(from.experts[e].gate));
    SPLITD_ASSIGN(expert.up, matrix(from.experts[e].up));
    SPLITD_ASSIGN(expert.down, matrix(from.experts[e].down));
    to.experts.push_back(expert);
  }
  return {};
}

Result<CpuWeights> CpuWeights::make(const ModelConfig& config, const ModelWeights& weights) {
  CpuWeights out;
  out.range_ = weights.range;
  out.norm_plus_one_ = config.norm_plus_one && !weights.norm_one_added;
  out.qk_interleaved_ = weights.qk_interleaved;
  out.layers_.resize(weights.layers.size());
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const bool moe = config.layers[weights.range.begin + i].moe;
    SPLITD_TRY(out.layer(config, weights.layers[i], moe, out.layers_[i]));
  }
  SPLITD_ASSIGN(out.embed_, out.matrix(weights.embed));
  SPLITD_ASSIGN(out.head_, out.matrix(weights.head));
  SPLITD_ASSIGN(out.norm_, out.norm(weights.norm));
  return out;
}

std::vector<CpuMatrix*> CpuWeights::matrices() {
  std::vector<CpuMatrix*> out;
  const auto add = [&](CpuMatrix& matrix) {
    if (matrix.data != nullptr) out.push_back(&matrix);
  };
  for (CpuLayer& layer : layers_) {
    for (CpuMatrix& matrix : layer.qkv) add(matrix);
    add(layer.o);
    for (CpuMatrix& matrix : layer.gate_up) add(matrix);
    add(layer.down);
    add(layer.router);
    for (CpuExpert& expert : layer.experts) {
      for (CpuMatrix* matrix : {&expert.gate, &expert.up, &expert.down}) add(*matrix);
    }
  }
  add(head_);
  return out;
}

Status CpuWeights::lay_out(CpuPanels& panels, const ProgressFn& progress) {
  const bool tied = embed_.data == head_.data;
  const std::vector<CpuMatrix*> all = matrices();
  SPLITD_TRY(panels.lay_out(all, progress));
  if (tied) embed_ = head_;
  return {};
}

}  // namespace splitd

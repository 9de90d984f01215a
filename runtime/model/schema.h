// Owns: which tensors a model of a given config consists of: their names as transformers spells
// them, and their shapes. Derived from the config alone, so the list of a whole model is known even
// where only a part of its files is there. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/config.h"
#include "runtime/model/formats/tensor.h"

namespace splitd {

// What a tensor is for. One layer has each at most once; experts have theirs once per expert.
enum class Slot : uint8_t {
  embedding,
  final_norm,
  head,  // absent when tied
  // of a layer
  attn_norm,
  q,
  k,
  v,
  qkv,  // instead of q, k, v
  q_bias,
  k_bias,
  v_bias,
  q_norm,
  k_norm,
  o,
  o_bias,
  attn_post_norm,
  mlp_norm,
  gate,
  up,
  gate_up,  // instead of gate, up
  down,
  gate_bias,
  up_bias,
  down_bias,
  mlp_post_norm,
  router,
  expert_gate,
  expert_up,
  expert_down,
};

[[nodiscard]] bool is_norm(Slot slot);         // a 1-D norm: every partial directory holds it
[[nodiscard]] bool is_expert(Slot slot);       // there is one per expert
[[nodiscard]] bool is_whole_model(Slot slot);  // not of a layer

struct TensorSpec {
  Slot slot = Slot::embedding;
  uint32_t layer = 0;   // unless is_whole_model(slot)
  uint32_t expert = 0;  // where is_expert(slot)
  Shape shape;

  bool operator==(const TensorSpec&) const = default;
};

// "model.layers.3.self_attn.q_proj.weight"
[[nodiscard]] std::string hf_name(const TensorSpec& spec, const ModelConfig& config);
// "blk.3.attn_q.weight"; the experts of a layer share one name.
[[nodiscard]] std::string gguf_name(const TensorSpec& spec);

[[nodiscard]] std::vector<TensorSpec> layer_schema(const ModelConfig& config, uint32_t layer);
// Embedding, layers in order, final norm, head.
[[nodiscard]] std::vector<TensorSpec> model_schema(const ModelConfig& config);

// Whether q8 and q4 can hold it: a matrix (no router) of whole groups, in whole panels wherever an
// engine may cut it.
[[nodiscard]] bool can_be_quantised(const ModelConfig& config, const TensorSpec& spec);

// Numbers in all of the model's tensors, a tied head counted once.
[[nodiscard]] uint64_t parameter_count(const ModelConfig& config);

}  // namespace splitd

#include "runtime/model/schema.h"

#include "runtime/model/formats/quantised.h"

namespace splitd {
namespace {

// Of a layer's tensors: what stands behind "model.layers.N." (for experts "…mlp.experts.E.") and
// "blk.N.".
struct SlotNames {
  std::string_view hf;
  std::string_view gguf;
};

SlotNames names_of(Slot slot) {
  switch (slot) {
    case Slot::embedding:
      return {"model.embed_tokens.weight", "token_embd.weight"};
    case Slot::final_norm:
      return {"model.norm.weight", "output_norm.weight"};
    case Slot::head:
      return {"lm_head.weight", "output.weight"};
    case Slot::attn_norm:
      return {"input_layernorm.weight", "attn_norm.weight"};
    case Slot::q:
      return {"self_attn.q_proj.weight", "attn_q.weight"};
    case Slot::k:
      return {"self_attn.k_proj.weight", "attn_k.weight"};
    case Slot::v:
      return {"self_attn.v_proj.weight", "attn_v.weight"};
    case Slot::qkv:
      return {"self_attn.qkv_proj.weight", "attn_qkv.weight"};
    case Slot::q_bias:
      return {"self_attn.q_proj.bias", "attn_q.bias"};
    case Slot::k_bias:
      return {"self_attn.k_proj.bias", "attn_k.bias"};
    case Slot::v_bias:
      return {"self_attn.v_proj.bias", "attn_v.bias"};
    case Slot::q_norm:
      return {"self_attn.q_norm.weight", "attn_q_norm.weight"};
    case Slot::k_norm:
      return {"self_attn.k_norm.weight", "attn_k_norm.weight"};
    case Slot::o:
      return {"self_attn.o_proj.weight", "attn_output.weight"};
    case Slot::o_bias:
      return {"self_attn.o_proj.bias", "attn_output.bias"};
    case Slot::attn_post_norm:
      return {"post_attention_layernorm.weight", "post_attention_norm.weight"};
    case Slot::mlp_norm:  // hf: of models without norms after the blocks
      return {"post_attention_layernorm.weight", "ffn_norm.weight"};
    case Slot::gate:
      return {"mlp.gate_proj.weight", "ffn_gate.weight"};
    case Slot::up:
      return {"mlp.up_proj.weight", "ffn_up.weight"};
    case Slot::gate_up:
      return {"mlp.gate_up_proj.weight", "ffn_up.weight"};
    case Slot::down:
      return {"mlp.down_proj.weight", "ffn_down.weight"};
    case Slot::gate_bias:
      return {"mlp.gate_proj.bias", "ffn_gate.bias"};
    case Slot::up_bias:
      return {"mlp.up_proj.bias", "ffn_up.bias"};
    case Slot::down_bias:
      return {"mlp.down_proj.bias", "ffn_down.bias"};
    case Slot::mlp_post_norm:
      return {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"};
    case Slot::router:
      return {"mlp.gate.weight", "ffn_gate_inp.weight"};
    case Slot::expert_gate:
      return {"gate_proj.weight", "ffn_gate_exps.weight"};
    case Slot::expert_up:
      return {"up_proj.weight", "ffn_up_exps.weight"};
    case Slot::expert_down:
      return {"down_proj.weight", "ffn_down_exps.weight"};
  }
  return {};
}

void add_attention(const ModelConfig& config, uint32_t layer, std::vector<TensorSpec>& out) {
  const uint64_t d = config.d_model;
  const uint64_t n_q = uint64_t{config.n_head} * config.d_head;
  const uint64_t n_kv = uint64_t{config.n_kv_head} * config.d_head;
  const auto add = [&](Slot slot, Shape shape) { out.push_back({slot, layer, 0, shape}); };
  add(Slot::attn_norm, {d});
  if (config.fused_qkv) {
    add(Slot::qkv, {n_q + 2 * n_kv, d});
  } else {
    add(Slot::q, {n_q, d});
    add(Slot::k, {n_kv, d});
    add(Slot::v, {n_kv, d});
  }
  if (config.qkv_bias) {
    add(Slot::q_bias, {n_q});
    add(Slot::k_bias, {n_kv});
    add(Slot::v_bias, {n_kv});
  }
  if (config.qk_norm) {
    add(Slot::q_norm, {config.d_head});
    add(Slot::k_norm, {config.d_head});
  }
  add(Slot::o, {d, n_q});
  if (config.o_bias) add(Slot::o_bias, {d});
  if (config.norm_after) add(Slot::attn_post_norm, {d});
}

void add_mlp(const ModelConfig& config, uint32_t layer, std::vector<TensorSpec>& out) {
  const uint64_t d = config.d_model;
  const uint64_t f = config.d_ff;
  const auto add = [&](Slot slot, Shape shape) { out.push_back({slot, layer, 0, shape}); };
  add(Slot::mlp_norm, {d});
  if (config.layers[layer].moe) {
    const uint64_t fe = config.d_ff_expert;
    add(Slot::router, {config.n_expert, d});
    for (uint32_t expert = 0; expert < config.n_expert; ++expert) {
      out.push_back({Slot::expert_gate, layer, expert, {fe, d}});
      out.push_back({Slot::expert_up, layer, expert, {fe, d}});
      out.push_back({Slot::expert_down, layer, expert, {d, fe}});
    }
  } else {
    if (config.fused_gate_up) {
      add(Slot::gate_up, {2 * f, d});
    } else {
      add(Slot::gate, {f, d});
      add(Slot::up, {f, d});
    }
    add(Slot::down, {d, f});
    if (config.mlp_bias) {
      add(Slot::gate_bias, {f});
      add(Slot::up_bias, {f});
      add(Slot::down_bias, {d});
    }
  }
  if (config.norm_after) add(Slot::mlp_post_norm, {d});
}

}  // namespace

bool is_norm(Slot slot) {
  switch (slot) {
    case Slot::final_norm:
    case Slot::attn_norm:
    case Slot::q_norm:
    case Slot::k_norm:
    case Slot::attn_post_norm:
    case Slot::mlp_norm:
    case Slot::mlp_post_norm:
      return true;
    default:
      return false;
  }
}

bool is_expert(Slot slot) {
  return slot == Slot::expert_gate || slot == Slot::expert_up || slot == Slot::expert_down;
}

bool is_whole_model(Slot slot) {
  return slot == Slot::embedding || slot == Slot::final_norm || slot == Slot::head;
}

std::string hf_name(const TensorSpec& spec, const ModelConfig& config) {
  std::string_view name = names_of(spec.slot).hf;
  if (is_whole_model(spec.slot)) return std::string(name);
  if (spec.slot == Slot::mlp_norm && config.norm_after) name = "pre_feedforward_layernorm.weight";
  std::string out = "model.layers." + std::to_string(spec.layer) + ".";
  if (is_expert(spec.slot)) out += "mlp.experts." + std::to_string(spec.expert) + ".";
  return out.append(name);
}

std::string gguf_name(const TensorSpec& spec) {
  const std::string_view name = names_of(spec.slot).gguf;
  if (is_whole_model(spec.slot)) return std::string(name);
  return ("blk." + std::to_string(spec.layer) + ".").append(name);
}

std::vector<TensorSpec> layer_schema(const ModelConfig& config, uint32_t layer) {
  std::vector<TensorSpec> out;
  add_attention(config, layer, out);
  add_mlp(config, layer, out);
  return out;
}

std::vector<TensorSpec> model_schema(const ModelConfig& config) {
  const Shape table = {config.n_vocab, config.d_model};
  std::vector<TensorSpec> out = {{Slot::embedding, 0, 0, table}};
  for (uint32_t layer = 0; layer < config.n_layer; ++layer) {
    add_attention(config, layer, out);
    add_mlp(config, layer, out);
  }
  out.push_back({Slot::final_norm, 0, 0, {config.d_model}});
  if (!config.tied) out.push_back({Slot::head, 0, 0, table});
  return out;
}

// The rows that an engine may ask for apart: of q, k and v, of gate and up, of one expert.
static bool is_cut_at_panels(const ModelConfig& config, const TensorSpec& spec) {
  const auto whole = [](uint64_t rows) { return rows % kQuantPanel == 0; };
  if (!whole(spec.shape[0])) return false;
  if (spec.slot == Slot::gate_up) return whole(config.d_ff);
  if (spec.slot != Slot::qkv) return true;
  return whole(uint64_t{config.n_head} * config.d_head) &&
         whole(uint64_t{config.n_kv_head} * config.d_head);
}

bool can_be_quantised(const ModelConfig& config, const TensorSpec& spec) {
  if (spec.shape.size() < 2 || spec.slot == Slot::router) return false;
  const bool groups = spec.shape[1] != 0 && spec.shape[1] % kQuantGroup == 0;
  return groups && is_cut_at_panels(config, spec);
}

uint64_t parameter_count(const ModelConfig& config) {
  const uint64_t table = uint64_t{config.n_vocab} * config.d_model;
  uint64_t total = (config.tied ? table : 2 * table) + config.d_model;
  for (uint32_t layer = 0; layer < config.n_layer; ++layer) {
    for (const TensorSpec& spec : layer_schema(config, layer)) {
      uint64_t count = 1;
      for (const uint64_t extent : spec.shape) count *= extent;
      total += count;
    }
  }
  return total;
}

}  // namespace splitd

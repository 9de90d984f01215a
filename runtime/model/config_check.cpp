// The rules that hold for every ModelConfig, and its canonical text.
#include <algorithm>
#include <cmath>

#include "runtime/base/float16.h"
#include "runtime/model/config.h"
#include "runtime/model/config_reader.h"

namespace splitd {
namespace {

Status in_range(std::string_view what, uint64_t value, uint64_t max) {
  if (value >= 1 && value <= max) return {};
  return model_error(std::string(what) + " is " + std::to_string(value) + "; accepted: 1 to " +
                     std::to_string(max));
}

Status check_rope(const RopeConfig& rope, const ModelConfig& config) {
  if (rope.n_rotary == 0 || rope.n_rotary % 2 != 0 || rope.n_rotary > config.d_head) {
    return model_error("rope turns " + std::to_string(rope.n_rotary) +
                       " dimensions of a head; accepted: an even number up to its " +
                       std::to_string(config.d_head));
  }
  for (const double value : {rope.theta, rope.factor, rope.low_freq_factor, rope.high_freq_factor,
                             double{rope.attention_factor}}) {
    if (!(value > 0.0) || !std::isfinite(static_cast<float>(value))) {
      return model_error("a number of the rope is " + number_text(value) +
                         "; accepted: positive numbers");
    }
  }
  if (rope.kind != RopeKind::longrope) return {};
  for (const auto* factors : {&rope.short_factors, &rope.long_factors}) {
    if (factors->size() != rope.n_rotary / 2) {
      return model_error("the rope has " + std::to_string(factors->size()) +
                         " factors; accepted: " + std::to_string(rope.n_rotary / 2));
    }
    for (const float factor : *factors) {
      if (!(factor > 0.0f) || !std::isfinite(factor)) {
        return model_error("a rope factor is " + number_text(double{factor}) +
                           "; accepted: positive numbers");
      }
    }
  }
  return {};
}

Status check_experts(const ModelConfig& config) {
  bool any = false;
  for (const LayerConfig& layer : config.layers) any = any || layer.moe;
  if (!any) return {};
  SPLITD_TRY(in_range("the number of experts", config.n_expert, kMaxExperts));
  SPLITD_TRY(in_range("the width of an expert", config.d_ff_expert, kMaxModelDim));
  SPLITD_TRY(in_range("the number of experts a token uses", config.n_expert_used, config.n_expert));
  return in_range("layers times experts", uint64_t{config.n_layer} * config.n_expert,
                  kMaxExpertMatrices);
}

void write_rope(JsonWriter& out, const RopeConfig& rope) {
  // Other implementations hold these as f32, and GGUF stores them so.
  const auto narrow = [](double value) { return double{static_cast<float>(value)}; };
  constexpr std::string_view kNames[] = {"plain", "linear", "llama3", "longrope"};
  out.begin_object();
  out.field("kind", kNames[static_cast<size_t>(rope.kind)]);
  out.field("theta", narrow(rope.theta));
  out.field("n_rotary", rope.n_rotary);
  if (rope.kind == RopeKind::linear || rope.kind == RopeKind::llama3) {
    out.field("factor", narrow(rope.factor));
  }
  if (rope.kind == RopeKind::llama3) {
    out.field("low_freq_factor", narrow(rope.low_freq_factor));
    out.field("high_freq_factor", narrow(rope.high_freq_factor));
  }
  if (rope.kind == RopeKind::llama3 || rope.kind == RopeKind::longrope) {
    out.field("original_ctx", rope.original_ctx);
  }
  if (rope.kind == RopeKind::longrope) {
    out.field("attention_factor", double{rope.attention_factor});
    out.key("short_factors").begin_array();
    for (const float factor : rope.short_factors) out.number(double{factor});
    out.end_array().key("long_factors").begin_array();
    for (const float factor : rope.long_factors) out.number(double{factor});
    out.end_array();
  }
  out.end_object();
}

}  // namespace

Status check_config(const ModelConfig& config) {
  SPLITD_TRY(in_range("d_model", config.d_model, kMaxModelDim));
  SPLITD_TRY(in_range("d_ff", config.d_ff, kMaxModelDim));
  SPLITD_TRY(in_range("the number of layers", config.n_layer, kMaxLayers));
  SPLITD_TRY(in_range("the number of heads", config.n_head, kMaxHeads));
  SPLITD_TRY(in_range("the number of kv heads", config.n_kv_head, config.n_head));
  SPLITD_TRY(in_range("the width of a head", config.d_head, kMaxHeadDim));
  SPLITD_TRY(
      in_range("the heads' width together", uint64_t{config.n_head} * config.d_head, kMaxModelDim));
  SPLITD_TRY(in_range("the size of the vocabulary", config.n_vocab, kMaxVocab));
  SPLITD_TRY(in_range("the context", config.n_ctx, kMaxContext));
  if (config.n_head % config.n_kv_head != 0) {
    return model_error(std::to_string(config.n_head) + " heads cannot share " +
                       std::to_string(config.n_kv_head) +
                       " kv heads; accepted: a divisor of the number of heads");
  }
  for (const float value : {config.norm_eps, config.attn_scale, config.embed_scale}) {
    if (!(value > 0.0f) || !std::isfinite(value)) {
      return model_error("the norm's epsilon, the attention scale or the embedding scale is " +
                         number_text(double{value}) + "; accepted: positive numbers");
    }
  }
  for (const float cap : {config.attn_softcap, config.final_softcap}) {
    if (!(cap >= 0.0f) || !std::isfinite(cap)) {
      return model_error("a soft cap is " + number_text(double{cap}) +
                         "; accepted: a positive number, or 0 for none");
    }
  }
  if (config.ropes.empty() || config.layers.size() != config.n_layer) {
    return model_error("the layers of the config are incomplete");
  }
  for (const RopeConfig& rope : config.ropes) SPLITD_TRY(check_rope(rope, config));
  for (const LayerConfig& layer : config.layers) {
    if (layer.rope >= config.ropes.size()) return model_error("a layer names a rope that is not");
  }
  return check_experts(config);
}

std::string canonical_config(const ModelConfig& config) {
  constexpr std::string_view kActivations[] = {"silu", "gelu_tanh", "gelu_erf"};
  JsonWriter out;
  out.begin_object();
  out.field("d_model", config.d_model).field("n_layer", config.n_layer);
  out.field("n_head", config.n_head).field("n_kv_head", config.n_kv_head);
  out.field("d_head", config.d_head);
  const bool any_dense = std::any_of(config.layers.begin(), config.layers.end(),
                                     [](const LayerConfig& layer) { return !layer.moe; });
  if (any_dense) out.field("d_ff", config.d_ff);
  out.field("n_vocab", config.n_vocab);
  out.field("norm_eps", double{config.norm_eps});
  out.field("norm_plus_one", config.norm_plus_one).field("norm_after", config.norm_after);
  out.field("qk_norm", config.qk_norm).field("qkv_bias", config.qkv_bias);
  out.field("o_bias", config.o_bias).field("mlp_bias", config.mlp_bias);
  out.field("tied", config.tied);
  out.field("activation", kActivations[static_cast<size_t>(config.activation)]);
  out.field("attn_scale", double{config.attn_scale});
  out.field("attn_softcap", double{config.attn_softcap});
  out.field("final_softcap", double{config.final_softcap});
  out.field("embed_scale", double{config.embed_scale});
  if (config.n_expert > 0) {
    out.field("n_expert", config.n_expert).field("n_expert_used", config.n_expert_used);
    out.field("d_ff_expert", config.d_ff_expert).field("norm_topk", config.norm_topk);
  }
  out.key("ropes").begin_array();
  for (const RopeConfig& rope : config.ropes) write_rope(out, rope);
  out.end_array().key("layers").begin_array();
  for (const LayerConfig& layer : config.layers) {
    out.begin_array().number(layer.window).number(uint64_t{layer.rope}).boolean(layer.moe);
    out.end_array();
  }
  out.end_array().end_object();
  return out.take();
}

std::string identity_config(ModelConfig config) {
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(config.d_model)));
  const float scale = config.embed_scale;
  if (scale == to_f32(to_bf16(root)) || scale == to_f32(to_f16(root))) config.embed_scale = root;
  return canonical_config(config);
}

}  // namespace splitd

#include "runtime/model/config_write.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/model/config_families.h"
#include "runtime/model/config_rope.h"
#include "runtime/model/formats/quantised.h"

namespace splitd {
namespace {

std::string_view torch_name(DType dtype) {
  if (dtype == DType::f16) return "float16";
  return dtype == DType::bf16 ? "bfloat16" : "float32";
}

// The shortest text that reads back as this float: 1e-06, not 9.999999974752427e-07.
void write_float(JsonWriter& out, float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  std::string number(text, end);
  if (number.find_first_of(".e") == std::string::npos) number += ".0";
  out.raw(number);
}

void write_floats(JsonWriter& out, std::string_view key, const std::vector<float>& values) {
  out.key(key).begin_array();
  for (const float value : values) write_float(out, value);
  out.end_array();
}

void write_tokens(JsonWriter& out, const ModelConfig& config, std::optional<uint32_t> pad) {
  if (config.bos >= 0) {
    out.field("bos_token_id", config.bos);
  } else {
    out.key("bos_token_id").null();
  }
  out.key("eos_token_id");
  if (config.eos.empty()) {
    out.null();
  } else if (config.eos.size() == 1) {
    out.number(uint64_t{config.eos.front()});
  } else {
    out.begin_array();
    for (const uint32_t id : config.eos) out.number(uint64_t{id});
    out.end_array();
  }
  // Null where there is none: a default of Phi-3's class lies outside small vocabularies.
  out.key("pad_token_id");
  if (pad) {
    out.number(uint64_t{*pad});
  } else {
    out.null();
  }
}

void write_scaling(JsonWriter& out, const RopeConfig& rope, const ModelConfig& config,
                   const Family& family) {
  out.key("rope_scaling");
  if (rope.kind == RopeKind::plain) {
    out.null();
    return;
  }
  out.begin_object();
  constexpr std::string_view kNames[] = {"default", "linear", "llama3", "longrope"};
  out.field("rope_type", kNames[static_cast<size_t>(rope.kind)]);
  // Phi-3's code in older releases knows only this key.
  if (family.partial_rotary) out.field("type", kNames[static_cast<size_t>(rope.kind)]);
  if (rope.kind == RopeKind::linear || rope.kind == RopeKind::llama3) {
    out.field("factor", rope.factor);
  }
  if (rope.kind == RopeKind::llama3) {
    out.field("low_freq_factor", rope.low_freq_factor);
    out.field("high_freq_factor", rope.high_freq_factor);
  }
  if (rope.kind == RopeKind::longrope) {
    const double extension =
        static_cast<double>(config.n_ctx) / static_cast<double>(rope.original_ctx);
    if (rope.attention_factor != longrope_attention_factor(extension, rope.original_ctx)) {
      out.key("attention_factor");
      write_float(out, rope.attention_factor);
    }
    write_floats(out, "short_factor", rope.short_factors);
    write_floats(out, "long_factor", rope.long_factors);
  }
  if (rope.original_ctx > 0 && !family.partial_rotary) {
    out.field("original_max_position_embeddings", rope.original_ctx);
  }
  out.end_object();
}

void write_ropes(JsonWriter& out, const ModelConfig& config, const Family& family) {
  const RopeConfig& rope = config.ropes.front();
  out.field("rope_theta", rope.theta);
  write_scaling(out, rope, config, family);
  if (family.window_theta > 0.0) out.field("rope_local_base_freq", config.ropes[1].theta);
  if (family.partial_rotary) {
    out.field("partial_rotary_factor", static_cast<double>(rope.n_rotary) / config.d_head);
    const uint64_t original = rope.original_ctx > 0 ? rope.original_ctx : config.n_ctx;
    out.field("original_max_position_embeddings", original);
  }
}

void write_windows(JsonWriter& out, const ModelConfig& config, const Family& family) {
  if (family.windows == WindowRule::never) return;
  uint64_t window = 0;
  for (const LayerConfig& layer : config.layers) window = std::max(window, layer.window);
  out.key("sliding_window");
  if (window > 0) {
    out.number(window);
  } else {
    out.null();
  }
  if (family.windows == WindowRule::all_if_asked || family.windows == WindowRule::late_layers) {
    out.field("use_sliding_window", window > 0);
  }
  if (family.windows == WindowRule::all || family.windows == WindowRule::all_if_asked) return;
  out.key("layer_types").begin_array();
  for (const LayerConfig& layer : config.layers) {
    out.string(layer.window > 0 ? "sliding_attention" : "full_attention");
  }
  out.end_array();
  // Releases before layer_types count instead.
  if (family.windows != WindowRule::pattern) return;
  const auto full = std::find_if(config.layers.begin(), config.layers.end(),
                                 [](const LayerConfig& layer) { return layer.window == 0; });
  if (full == config.layers.end()) return;
  out.field("sliding_window_pattern", static_cast<uint64_t>(full - config.layers.begin()) + 1);
}

void write_gemma(JsonWriter& out, const ModelConfig& config) {
  const double scalar = 1.0 / (double{config.attn_scale} * double{config.attn_scale});
  const double whole = std::round(scalar);
  out.key("query_pre_attn_scalar");
  if (static_cast<float>(std::pow(whole, -0.5)) == config.attn_scale && whole < 1e15) {
    out.number(static_cast<uint64_t>(whole));  // newer releases insist on an integer
  } else {
    out.number(scalar);
  }
  for (const auto& [key, cap] : {std::pair("attn_logit_softcapping", config.attn_softcap),
                                 std::pair("final_logit_softcapping", config.final_softcap)}) {
    out.key(key);
    if (cap > 0.0f) {
      write_float(out, cap);
    } else {
      out.null();
    }
  }
}

void write_experts(JsonWriter& out, const ModelConfig& config) {
  out.field("num_experts", config.n_expert);
  if (config.n_expert > 0) {
    out.field("num_experts_per_tok", config.n_expert_used);
    out.field("moe_intermediate_size", config.d_ff_expert);
  }
  out.field("norm_topk_prob", config.norm_topk);
  out.field("decoder_sparse_step", uint32_t{1});
  out.key("mlp_only_layers").begin_array();
  for (uint64_t i = 0; i < config.n_layer; ++i) {
    if (!config.layers[i].moe) out.number(i);
  }
  out.end_array();
}

}  // namespace

std::string write_config_json(const ModelConfig& config, DType dtype, std::optional<uint32_t> pad) {
  const Family& family = *find_family(config.family);
  constexpr std::string_view kActivations[] = {"silu", "gelu_pytorch_tanh", "gelu"};
  JsonWriter out(2);
  out.begin_object();
  out.key("architectures").begin_array().string(family.architecture).end_array();
  out.field("model_type", family.model_type);
  out.field("torch_dtype", torch_name(dtype));
  out.field("hidden_size", config.d_model);
  out.field("intermediate_size", config.d_ff);
  out.field("num_hidden_layers", config.n_layer);
  out.field("num_attention_heads", config.n_head);
  out.field("num_key_value_heads", config.n_kv_head);
  out.field("head_dim", config.d_head);
  out.field("vocab_size", config.n_vocab);
  out.field("max_position_embeddings", config.n_ctx);
  out.key("rms_norm_eps");
  write_float(out, config.norm_eps);
  out.field(family.gemma ? "hidden_activation" : "hidden_act",
            kActivations[static_cast<size_t>(config.activation)]);
  if (family.attention_bias) out.field("attention_bias", config.qkv_bias);
  if (family.mlp_bias) out.field("mlp_bias", config.mlp_bias);
  out.field("tie_word_embeddings", config.tied);
  write_ropes(out, config, family);
  write_windows(out, config, family);
  if (family.gemma) write_gemma(out, config);
  if (family.moe) write_experts(out, config);
  write_tokens(out, config, pad);
  out.field("use_cache", true);
  out.end_object();
  return out.take() + "\n";
}

std::string write_generation_config_json(const ModelConfig& config, std::optional<uint32_t> pad) {
  JsonWriter out(2);
  out.begin_object().field("_from_model_config", true);
  write_tokens(out, config, pad);
  out.end_object();
  return out.take() + "\n";
}

// `dtype`: nothing leaves it as it is.
static std::string with_dtype(Json config, std::optional<DType> dtype,
                              std::optional<DType> quantised) {
  JsonWriter out(2);
  out.begin_object();
  bool stated = false;
  for (const Json::Member member : config.members()) {
    if (member.key == "quantization_config") continue;
    if (member.key == "dtype" || member.key == "torch_dtype") {
      out.key(member.key);
      dtype ? out.string(torch_name(*dtype)) : out.copy(member.value);
      stated = true;
    } else if (member.value.is_object() &&
               (member.value.find("dtype") || member.value.find("torch_dtype"))) {
      out.key(member.key).raw(with_dtype(member.value, dtype, std::nullopt));
    } else {
      out.key(member.key).copy(member.value);
    }
  }
  if (!stated && dtype) out.field("torch_dtype", torch_name(*dtype));
  if (quantised) {
    out.key("quantization_config").begin_object();
    out.field("quant_method", kQuantMethod).field("version", kQuantVersion);
    out.field("weights", *quantised == DType::q8 ? "q8" : "q4");
    out.field("group_size", uint64_t{kQuantGroup}).end_object();
  }
  out.end_object();
  return out.take();
}

std::string replace_config_dtype(Json config, DType dtype) {
  if (is_own_quantised(dtype)) return with_dtype(config, std::nullopt, dtype);
  return with_dtype(config, dtype, std::nullopt);
}

}  // namespace splitd

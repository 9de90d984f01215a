#include "runtime/model/config_gguf.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/checked.h"
#include "runtime/model/config_families.h"
#include "runtime/model/config_rope.h"
#include "runtime/model/formats/dequantize.h"

namespace splitd {
namespace {

struct Architecture {
  std::string_view name;        // general.architecture
  std::string_view model_type;  // of the family
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama"}, {"qwen2", "qwen2"},   {"qwen3", "qwen3"},        {"qwen3moe", "qwen3_moe"},
    {"phi3", "phi3"},   {"gemma2", "gemma2"}, {"gemma3", "gemma3_text"},
};

// The keys of one architecture: "context_length" is "llama.context_length".
class Metadata {
 public:
  Metadata(const Gguf& gguf, std::string_view architecture)
      : gguf_(gguf), prefix_(std::string(architecture) + ".") {}

  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  std::optional<GgufValue> find(std::string_view key) const { return gguf_.find(name(key)); }
  const Gguf& gguf() const { return gguf_; }

  Result<uint64_t> integer(std::string_view key, uint64_t min, uint64_t max) const {
    SPLITD_ASSIGN(const uint64_t value, gguf_.u64(name(key)));
    if (value < min || value > max) {
      return model_error(name(key) + " is " + std::to_string(value) +
                         "; accepted: " + std::to_string(min) + " to " + std::to_string(max));
    }
    return value;
  }
  Result<uint64_t> integer(std::string_view key, uint64_t fallback, uint64_t min,
                           uint64_t max) const {
    if (!find(key)) return fallback;
    return integer(key, min, max);
  }
  Result<uint32_t> count(std::string_view key, uint32_t max) const {
    SPLITD_ASSIGN(const uint64_t value, integer(key, 1, max));
    return static_cast<uint32_t>(value);
  }
  Result<double> positive(std::string_view key, double fallback) const {
    if (!find(key)) return fallback;
    return positive(key);
  }
  Result<double> positive(std::string_view key) const {
    SPLITD_ASSIGN(const double value, gguf_.f64(name(key)));
    if (value > 0.0 && std::isfinite(static_cast<float>(value))) return value;
    return model_error(name(key) + " is " + std::to_string(value) +
                       "; accepted: a positive number");
  }

 private:
  const Gguf& gguf_;
  std::string prefix_;
};

bool has_tensor(const Gguf& gguf, std::string_view name) {
  return gguf.files().find(name) != nullptr;
}

Result<const Family*> find_architecture(const Gguf& gguf, std::string& name) {
  SPLITD_ASSIGN(const std::string_view architecture, gguf.string("general.architecture"));
  name = architecture;
  std::string supported;
  for (const Architecture& known : kArchitectures) {
    if (known.name == architecture) return find_family(known.model_type);
    supported += (supported.empty() ? "" : ", ") + std::string(known.name);
  }
  return model_error("general.architecture is " + quoted_name(architecture) +
                     ", which is not supported; supported: " + supported);
}

// head_count_kv may be one number, or an array of equal ones.
Result<uint32_t> read_kv_heads(const Metadata& meta, uint32_t n_head) {
  constexpr std::string_view kKey = "attention.head_count_kv";
  const std::optional<GgufValue> value = meta.find(kKey);
  if (!value) return n_head;
  if (!value->is_array()) return meta.count(kKey, kMaxHeads);
  const std::optional<std::vector<int64_t>> counts = value->to_i64s();
  if (!counts || counts->empty() || counts->front() < 1 || counts->front() > kMaxHeads ||
      std::count(counts->begin(), counts->end(), counts->front()) != std::ssize(*counts)) {
    return model_error(meta.name(kKey) + " is " + value->describe() +
                       "; accepted: one number for all layers");
  }
  return static_cast<uint32_t>(counts->front());
}

Status read_sizes(const Metadata& meta, ModelConfig& config) {
  SPLITD_ASSIGN(config.d_model, meta.count("embedding_length", kMaxModelDim));
  SPLITD_ASSIGN(config.n_layer, meta.count("block_count", kMaxLayers));
  SPLITD_ASSIGN(config.d_ff, meta.count("feed_forward_length", kMaxModelDim));
  SPLITD_ASSIGN(config.n_head, meta.count("attention.head_count", kMaxHeads));
  SPLITD_ASSIGN(config.n_kv_head, read_kv_heads(meta, config.n_head));
  SPLITD_ASSIGN(config.n_ctx, meta.integer("context_length", 1, kMaxContext));
  SPLITD_ASSIGN(
      const uint64_t d_head,
      meta.integer("attention.key_length", config.d_model / config.n_head, 1, kMaxHeadDim));
  SPLITD_ASSIGN(const uint64_t d_value,
                meta.integer("attention.value_length", d_head, 1, kMaxHeadDim));
  if (d_head != d_value) {
    return model_error(meta.name("attention.value_length") + " is " + std::to_string(d_value) +
                       "; accepted: the same as attention.key_length, " + std::to_string(d_head));
  }
  config.d_head = static_cast<uint32_t>(d_head);
  // Metadata may name fewer tokens than the table has rows; the table decides.
  const TensorInfo* embedding = meta.gguf().files().find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return model_error("tensor \"token_embd.weight\" is missing or is no matrix");
  }
  const std::optional<uint32_t> n_vocab = checked_cast<uint32_t>(embedding->shape[0]);
  if (!n_vocab) return model_error("tensor \"token_embd.weight\" has too many rows");
  config.n_vocab = *n_vocab;
  return {};
}

Status refuse_unsupported(const Metadata& meta, const Family& family) {
  if (!family.moe) {
    SPLITD_ASSIGN(const uint64_t experts, meta.integer("expert_count", 0, 0, UINT32_MAX));
    if (experts > 0) {
      return model_error(meta.name("expert_count") + " is " + std::to_string(experts) +
                         "; experts are supported in qwen3moe alone");
    }
  }
  if (meta.find("attention.causal")) {
    SPLITD_ASSIGN(const bool causal, meta.gguf().boolean(meta.name("attention.causal")));
    if (!causal) return model_error(meta.name("attention.causal") + " is false; accepted: true");
  }
  for (const std::string_view key : {"logit_scale", "embedding_scale", "residual_scale",
                                     "attention.scale", "expert_weights_scale"}) {
    SPLITD_ASSIGN(const double scale, meta.positive(key, 1.0));
    if (scale != 1.0) {
      return model_error(meta.name(key) + " is " + std::to_string(scale) +
                         ", which is not supported");
    }
  }
  return {};
}

// llama.cpp knows Gemma's query_pre_attn_scalar by the size of the model alone: the 27B ones scale
// by the width per head instead of by the head's width.
double attention_scalar(const Family& family, const ModelConfig& config) {
  const uint32_t layers_of_27b = family.qk_norm ? 62 : 46;
  if (family.gemma && config.n_layer == layers_of_27b) return config.d_model / config.n_head;
  return config.d_head;
}

Status read_features(const Metadata& meta, const Family& family, ModelConfig& config) {
  const Gguf& gguf = meta.gguf();
  SPLITD_ASSIGN(const double eps, meta.positive("attention.layer_norm_rms_epsilon"));
  config.norm_eps = static_cast<float>(eps);
  config.norm_plus_one = config.norm_after = family.gemma;
  config.qk_norm = family.qk_norm;
  config.fused_qkv = config.fused_gate_up = family.fused;
  config.qkv_bias = family.qkv_bias || has_tensor(gguf, "blk.0.attn_q.bias");
  config.o_bias = has_tensor(gguf, "blk.0.attn_output.bias");
  config.mlp_bias = has_tensor(gguf, "blk.0.ffn_gate.bias");
  config.tied = !has_tensor(gguf, "output.weight");
  config.activation = family.gemma ? Activation::gelu_tanh : Activation::silu;
  config.attn_scale = static_cast<float>(std::pow(attention_scalar(family, config), -0.5));
  if (!family.gemma) return {};
  config.embed_scale = static_cast<float>(std::sqrt(static_cast<double>(config.d_model)));
  if (family.attn_softcap > 0.0f) {
    SPLITD_ASSIGN(const double attn, meta.positive("attn_logit_softcapping", family.attn_softcap));
    SPLITD_ASSIGN(const double last,
                  meta.positive("final_logit_softcapping", family.final_softcap));
    config.attn_softcap = static_cast<float>(attn);
    config.final_softcap = static_cast<float>(last);
  }
  return {};
}

Status read_layers(const Metadata& meta, const Family& family, ModelConfig& config) {
  config.layers.resize(config.n_layer);
  uint64_t window = 0;
  if (family.gemma || family.windows == WindowRule::all) {
    SPLITD_ASSIGN(window, meta.integer("attention.sliding_window", family.window, 0, kMaxContext));
  }
  uint64_t pattern = 0;  // every pattern-th layer sees everything; 0: none does
  if (family.windows == WindowRule::alternating) pattern = 2;
  if (family.windows == WindowRule::pattern) {
    constexpr std::string_view kKey = "attention.sliding_window_pattern";
    const std::optional<GgufValue> value = meta.find(kKey);
    if (value && value->is_array()) {
      return model_error(meta.name(kKey) + " is " + value->describe() +
                         "; accepted: one number for all layers");
    }
    SPLITD_ASSIGN(pattern, meta.integer(kKey, 6, 1, UINT32_MAX));
  }
  for (uint32_t i = 0; i < config.n_layer; ++i) {
    LayerConfig& layer = config.layers[i];
    if (pattern == 0 || (i + 1) % pattern != 0) layer.window = window;
    layer.rope = layer.window != 0 && family.window_theta > 0.0 ? 1 : 0;
    layer.moe =
        family.moe && has_tensor(meta.gguf(), "blk." + std::to_string(i) + ".ffn_gate_inp.weight");
  }
  return {};
}

Status read_experts(const Metadata& meta, ModelConfig& config) {
  if (std::none_of(config.layers.begin(), config.layers.end(),
                   [](const LayerConfig& layer) { return layer.moe; })) {
    return {};
  }
  SPLITD_ASSIGN(config.n_expert, meta.count("expert_count", kMaxExperts));
  SPLITD_ASSIGN(config.n_expert_used, meta.count("expert_used_count", kMaxExperts));
  SPLITD_ASSIGN(config.d_ff_expert, meta.count("expert_feed_forward_length", kMaxModelDim));
  config.norm_topk = true;  // the architecture's own, unless the file says otherwise
  if (meta.find("expert_weights_norm")) {
    SPLITD_ASSIGN(config.norm_topk, meta.gguf().boolean(meta.name("expert_weights_norm")));
  }
  return {};
}

Result<std::vector<float>> read_factors(const Gguf& gguf, std::string_view name, uint64_t count) {
  const TensorInfo* tensor = gguf.files().find(name);
  if (tensor == nullptr) return model_error("tensor " + quoted_name(name) + " is missing");
  if (tensor->dtype != DType::f32 || tensor->shape != Shape{count}) {
    return model_error("tensor " + quoted_name(name) + " is " +
                       std::string(dtype_name(tensor->dtype)) + " " + shape_text(tensor->shape) +
                       "; accepted: F32 [" + std::to_string(count) + "]");
  }
  std::vector<float> out(count);
  dequantize(DType::f32, gguf.files().view(*tensor).data, count, out.data());
  for (const float factor : out) {
    if (factor > 0.0f && std::isfinite(factor)) continue;
    return model_error("tensor " + quoted_name(name) + " holds " + std::to_string(factor) +
                       "; accepted: positive numbers");
  }
  return out;
}

// By what llama3 rope divides the frequency of pair `i`.
double llama3_divisor(const RopeConfig& rope, uint32_t i) {
  const double wavelength = 2.0 * M_PI * std::pow(rope.theta, 2.0 * i / rope.n_rotary);
  const double turns = static_cast<double>(rope.original_ctx) / wavelength;
  if (turns > rope.high_freq_factor) return 1.0;
  if (turns < rope.low_freq_factor) return rope.factor;
  const double smooth =
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return 1.0 / ((1.0 - smooth) / rope.factor + smooth);
}

// GGUF holds the divisors of llama3 rope, not its parameters. Every published model has the same
// ones but for the factor, which is the largest divisor; others stay plain divisors, which longrope
// can say.
RopeConfig name_divisors(const RopeConfig& plain, std::vector<float> divisors, uint64_t n_ctx) {
  RopeConfig rope = plain;
  rope.kind = RopeKind::llama3;
  rope.factor = *std::max_element(divisors.begin(), divisors.end());
  rope.original_ctx = 8192;
  bool same = true;
  for (uint32_t i = 0; i < divisors.size() && same; ++i) {
    const double expected = llama3_divisor(rope, i);
    same = std::abs(divisors[i] - expected) <= 1e-5 * expected;
  }
  if (same) return rope;
  rope = plain;
  rope.kind = RopeKind::longrope;
  rope.original_ctx = n_ctx;
  rope.short_factors = divisors;
  rope.long_factors = std::move(divisors);
  return rope;
}

// A factor without a type is linear, and rope.scale_linear is its old name: so llama.cpp reads
// them.
Status read_scaling(const Metadata& meta, RopeConfig& rope) {
  constexpr std::string_view kKey = "rope.scaling.type";
  const std::string_view factor =
      meta.find("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  std::string_view kind = meta.find(factor) ? "linear" : "none";
  if (meta.find(kKey)) {
    SPLITD_ASSIGN(kind, meta.gguf().string(meta.name(kKey)));
  }
  if (kind == "linear") {
    SPLITD_ASSIGN(rope.factor, meta.positive(factor, 1.0));
    if (rope.factor != 1.0) rope.kind = RopeKind::linear;
  } else if (kind == "longrope" && !has_tensor(meta.gguf(), "rope_factors_long.weight")) {
    return model_error(meta.name(kKey) +
                       " is \"longrope\", but tensor \"rope_factors_long.weight\" is missing");
  } else if (kind != "none" && kind != "longrope") {
    return model_error(meta.name(kKey) + " is " + quoted_name(kind) +
                       ", which is not supported; supported: none, linear, longrope");
  }
  return {};
}

Status read_longrope(const Metadata& meta, const Family& family, const ModelConfig& config,
                     RopeConfig& rope) {
  rope.kind = RopeKind::longrope;
  const uint64_t pairs = rope.n_rotary / 2;
  SPLITD_ASSIGN(rope.short_factors, read_factors(meta.gguf(), "rope_factors_short.weight", pairs));
  SPLITD_ASSIGN(rope.long_factors, read_factors(meta.gguf(), "rope_factors_long.weight", pairs));
  SPLITD_ASSIGN(rope.original_ctx,
                meta.integer("rope.scaling.original_context_length", family.n_ctx, 1, kMaxContext));
  const double extension =
      static_cast<double>(config.n_ctx) / static_cast<double>(rope.original_ctx);
  SPLITD_ASSIGN(const double attention,
                meta.positive("rope.scaling.attn_factor",
                              double{longrope_attention_factor(extension, rope.original_ctx)}));
  rope.attention_factor = static_cast<float>(attention);
  return {};
}

Status read_ropes(const Metadata& meta, const Family& family, ModelConfig& config) {
  RopeConfig rope;
  SPLITD_ASSIGN(rope.theta, meta.positive("rope.freq_base", family.theta));
  SPLITD_ASSIGN(const uint64_t n_rotary,
                meta.integer("rope.dimension_count", config.d_head, 2, config.d_head));
  rope.n_rotary = static_cast<uint32_t>(n_rotary);
  if (rope.n_rotary % 2 != 0) {
    return model_error(meta.name("rope.dimension_count") + " is odd; accepted: an even number");
  }
  const RopeConfig plain = rope;
  SPLITD_TRY(read_scaling(meta, rope));
  if (has_tensor(meta.gguf(), "rope_factors_long.weight")) {
    SPLITD_TRY(read_longrope(meta, family, config, rope));
  } else if (has_tensor(meta.gguf(), "rope_freqs.weight")) {
    SPLITD_ASSIGN(std::vector<float> divisors,
                  read_factors(meta.gguf(), "rope_freqs.weight", rope.n_rotary / 2));
    for (float& divisor : divisors) divisor *= static_cast<float>(rope.factor);
    rope = name_divisors(plain, std::move(divisors), config.n_ctx);
  }
  config.ropes = {rope};
  if (family.window_theta > 0.0) {
    RopeConfig local = plain;
    SPLITD_ASSIGN(local.theta, meta.positive("rope.freq_base_swa", family.window_theta));
    config.ropes.push_back(local);
  }
  return {};
}

Status read_special_tokens(const Gguf& gguf, ModelConfig& config) {
  const auto read = [&](std::string_view key) -> Result<std::optional<uint32_t>> {
    if (!gguf.find(key)) return std::optional<uint32_t>();
    SPLITD_ASSIGN(const uint64_t id, gguf.u64(key));
    if (id == UINT32_MAX) return std::optional<uint32_t>();  // how llama.cpp writes "none"
    if (id < kMaxVocab) return std::optional(static_cast<uint32_t>(id));
    return model_error(std::string(key) + " is " + std::to_string(id) + "; accepted: a token id");
  };
  SPLITD_ASSIGN(const std::optional<uint32_t> bos, read("tokenizer.ggml.bos_token_id"));
  if (bos) config.bos = *bos;
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"}) {
    SPLITD_ASSIGN(const std::optional<uint32_t> eos, read(key));
    if (eos) config.eos.push_back(*eos);
  }
  std::sort(config.eos.begin(), config.eos.end());
  config.eos.erase(std::unique(config.eos.begin(), config.eos.end()), config.eos.end());
  return {};
}

}  // namespace

Result<ModelConfig> read_gguf_config(const Gguf& gguf) {
  std::string architecture;
  SPLITD_ASSIGN(const Family* family, find_architecture(gguf, architecture));
  const Metadata meta(gguf, architecture);
  ModelConfig config;
  config.family = family->model_type;
  SPLITD_TRY(refuse_unsupported(meta, *family));
  SPLITD_TRY(read_sizes(meta, config));
  SPLITD_TRY(read_features(meta, *family, config));
  SPLITD_TRY(read_layers(meta, *family, config));
  SPLITD_TRY(read_ropes(meta, *family, config));
  if (family->moe) SPLITD_TRY(read_experts(meta, config));
  SPLITD_TRY(read_special_tokens(gguf, config));
  SPLITD_TRY(check_config(config));
  // The scale of Gemma's embedding was rounded to what the model was made in, where that is known.
  const DType dtype = gguf.files().find("token_embd.weight")->dtype;
  if (dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16) set_dtype(config, dtype);
  return config;
}

}  // namespace splitd

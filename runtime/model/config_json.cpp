// config.json → ModelConfig. Reads what the modeling code of transformers reads, with its defaults;
// members it does not know are ignored, features it does not have are refused by name.
#include <algorithm>
#include <cmath>

#include "runtime/base/float16.h"
#include "runtime/model/config.h"
#include "runtime/model/config_families.h"
#include "runtime/model/config_reader.h"
#include "runtime/model/config_rope.h"
#include "runtime/model/formats/quantised.h"

namespace splitd {
namespace {

constexpr std::string_view kNestedType = "gemma3";  // multimodal: the text model is in text_config
constexpr std::string_view kNestedArchitecture = "Gemma3ForConditionalGeneration";

Error unsupported(std::string what) {
  return model_error(std::move(what) + " is not supported; supported: " + supported_families());
}

struct Source {
  const Family* family;
  ConfigReader root;
  ConfigReader text;  // the same as root, or its text_config
  bool nested;
};

Result<std::string> read_model_type(const ConfigReader& root,
                                    const std::vector<std::string>& architectures) {
  SPLITD_ASSIGN(std::string type, root.string("model_type", ""));
  if (!type.empty()) return type;
  for (const std::string& architecture : architectures) {
    if (architecture == kNestedArchitecture) return std::string(kNestedType);
    for (const Family& family : all_families()) {
      if (family.architecture == architecture) return std::string(family.model_type);
    }
  }
  if (!architectures.empty()) return unsupported("architecture \"" + architectures.front() + "\"");
  return model_error("model_type is missing; supported: " + supported_families());
}

Status check_architectures(const std::vector<std::string>& architectures, const Family& family) {
  if (architectures.empty()) return {};
  for (const std::string& architecture : architectures) {
    if (architecture == family.architecture) return {};
    if (family.window_theta > 0.0 && architecture == kNestedArchitecture) return {};
  }
  return model_error("architecture \"" + architectures.front() + "\" of a model_type \"" +
                     std::string(family.model_type) +
                     "\" is not supported; supported: " + std::string(family.architecture));
}

Result<Source> find_source(const ConfigReader& root) {
  SPLITD_ASSIGN(const std::vector<std::string> architectures, root.strings("architectures"));
  SPLITD_ASSIGN(const std::string type, read_model_type(root, architectures));
  const Family* family = find_family(type == kNestedType ? "gemma3_text" : type);
  if (family == nullptr) return unsupported("model_type \"" + type + "\"");
  SPLITD_TRY(check_architectures(architectures, *family));
  if (type != kNestedType) return Source{family, root, root, false};

  const std::optional<Json> text = root.find("text_config");
  if (!text) return model_error("text_config is missing; a gemma3 model has one");
  if (!text->is_object()) return root.refuse("text_config", *text, "an object");
  const ConfigReader reader(*text, "text_config.");
  SPLITD_ASSIGN(const std::string inner, reader.string("model_type", family->model_type));
  if (inner != family->model_type) return unsupported("text_config.model_type \"" + inner + "\"");
  return Source{family, root, reader, true};
}

Status refuse_flag(const ConfigReader& reader, std::string_view key, std::string_view why) {
  SPLITD_ASSIGN(const bool on, reader.boolean(key, false));
  if (!on) return {};
  return model_error(reader.name(key) + " is true, which is not supported: " + std::string(why));
}

Status check_own_quantisation(Json value) {
  const std::optional<Json> version = value.find("version");
  if (version && version->to_u64() == uint64_t{kQuantVersion}) return {};
  return model_error(
      "quantization_config.version is " + (version ? version->describe() : std::string("missing")) +
      "; accepted: " + std::to_string(kQuantVersion) + "; a newer splitd may know others");
}

Status refuse_quantisation(const ConfigReader& reader) {
  for (const std::string_view key : {"quantization_config", "compression_config"}) {
    const std::optional<Json> value = reader.find(key);
    if (!value) continue;
    std::string method = "an unnamed method";
    const std::optional<Json> named = value->find("quant_method");
    if (named && named->is_string()) method = std::string(*named->to_string());
    if (key == "quantization_config" && method == kQuantMethod) {
      // Names and types of the tensors say the rest.
      SPLITD_TRY(check_own_quantisation(*value));
      continue;
    }
    return model_error(reader.name(key) + " asks for " + method +
                       ", which is not supported; supported: weights stored as F32, F16 or BF16, "
                       "without " +
                       std::string(key) + ", and what `splitd convert --dtype q8|q4` makes");
  }
  return {};
}

Status refuse_unsupported(const ConfigReader& reader, const Family& family) {
  SPLITD_TRY(refuse_quantisation(reader));
  SPLITD_TRY(refuse_flag(reader, "is_encoder_decoder", "only decoders are"));
  SPLITD_TRY(refuse_flag(reader, "add_cross_attention", "only decoders are"));
  SPLITD_TRY(refuse_flag(reader, "use_bidirectional_attention", "attention is causal"));
  SPLITD_TRY(refuse_flag(reader, "lm_head_bias", "no supported family has this bias"));
  const std::string why = "the family " + std::string(family.model_type) + " has no such bias";
  if (!family.attention_bias && !family.qkv_bias) {
    SPLITD_TRY(refuse_flag(reader, "attention_bias", why));
  }
  if (!family.mlp_bias) SPLITD_TRY(refuse_flag(reader, "mlp_bias", why));
  return {};
}

Status read_sizes(const ConfigReader& reader, const Family& family, ModelConfig& config) {
  SPLITD_ASSIGN(config.d_model, reader.count("hidden_size", family.d_model, kMaxModelDim));
  SPLITD_ASSIGN(config.d_ff, reader.count("intermediate_size", family.d_ff, kMaxModelDim));
  SPLITD_ASSIGN(config.n_layer, reader.count("num_hidden_layers", family.n_layer, kMaxLayers));
  SPLITD_ASSIGN(config.n_head, reader.count("num_attention_heads", family.n_head, kMaxHeads));
  // Null says "as many as heads" where absent means the family's default.
  const uint32_t n_kv_head = family.n_kv_head == 0 || reader.is_null("num_key_value_heads")
                                 ? config.n_head
                                 : family.n_kv_head;
  SPLITD_ASSIGN(config.n_kv_head, reader.count("num_key_value_heads", n_kv_head, kMaxHeads));
  uint32_t d_head = reader.is_null("head_dim") ? 0 : family.d_head;
  if (d_head == 0 && !reader.find("head_dim")) {
    d_head = config.d_model / config.n_head;
    if (config.d_model % config.n_head != 0) {
      return model_error("hidden_size " + std::to_string(config.d_model) +
                         " is no multiple of num_attention_heads " + std::to_string(config.n_head) +
                         ", and there is no head_dim");
    }
  }
  SPLITD_ASSIGN(config.d_head, reader.count("head_dim", d_head, kMaxHeadDim));
  SPLITD_ASSIGN(config.n_vocab, reader.count("vocab_size", family.n_vocab, kMaxVocab));
  SPLITD_ASSIGN(config.n_ctx,
                reader.integer("max_position_embeddings", family.n_ctx, 1, kMaxContext));
  return {};
}

Result<Activation> read_activation(const ConfigReader& reader, const Family& family) {
  // Gemma's files may hold both keys; the reference reads this one.
  const std::string_view key = family.gemma ? "hidden_activation" : "hidden_act";
  SPLITD_ASSIGN(const std::string name,
                reader.string(key, family.gemma ? "gelu_pytorch_tanh" : "silu"));
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu_erf;
  return model_error(reader.name(key) + " is \"" + name +
                     "\", which is not supported; supported: silu, gelu, gelu_pytorch_tanh");
}

Result<float> read_softcap(const ConfigReader& reader, std::string_view key, float fallback) {
  if (reader.is_null(key)) return 0.0f;
  if (!reader.find(key)) return fallback;
  SPLITD_ASSIGN(const double cap, reader.positive(key, fallback));
  return static_cast<float>(cap);
}

Status read_features(const Source& source, ModelConfig& config) {
  const ConfigReader& reader = source.text;
  const Family& family = *source.family;
  SPLITD_ASSIGN(const double eps, reader.positive("rms_norm_eps", family.norm_eps));
  config.norm_eps = static_cast<float>(eps);
  config.norm_plus_one = family.gemma;
  config.norm_after = family.gemma;
  config.qk_norm = family.qk_norm;
  config.fused_qkv = config.fused_gate_up = family.fused;
  bool attention_bias = false;
  if (family.attention_bias) {
    SPLITD_ASSIGN(attention_bias, reader.boolean("attention_bias", false));
  }
  config.qkv_bias = family.qkv_bias || attention_bias;
  config.o_bias = attention_bias;
  if (family.mlp_bias) {
    SPLITD_ASSIGN(config.mlp_bias, reader.boolean("mlp_bias", false));
  }
  // Of a nested file the outer one counts, as there the whole model is tied.
  constexpr std::string_view kTied = "tie_word_embeddings";
  const ConfigReader& tied = source.root.find(kTied) ? source.root : reader;
  SPLITD_ASSIGN(config.tied, tied.boolean(kTied, family.tied));
  SPLITD_ASSIGN(config.activation, read_activation(reader, family));

  double scalar = config.d_head;
  if (family.gemma) {
    SPLITD_ASSIGN(scalar, reader.positive("query_pre_attn_scalar", 256.0));
    SPLITD_ASSIGN(config.attn_softcap,
                  read_softcap(reader, "attn_logit_softcapping", family.attn_softcap));
    SPLITD_ASSIGN(config.final_softcap,
                  read_softcap(reader, "final_logit_softcapping", family.final_softcap));
    config.embed_scale = static_cast<float>(std::sqrt(static_cast<double>(config.d_model)));
  }
  config.attn_scale = static_cast<float>(std::pow(scalar, -0.5));
  return {};
}

Result<std::optional<DType>> read_dtype(const ConfigReader& reader) {
  const std::string_view key = reader.find("dtype") ? "dtype" : "torch_dtype";
  SPLITD_ASSIGN(std::string name, reader.string(key, ""));
  if (name.starts_with("torch.")) name.erase(0, 6);
  if (name.empty() || name == "auto") return std::optional<DType>();
  if (name == "float32") return std::optional(DType::f32);
  if (name == "float16") return std::optional(DType::f16);
  if (name == "bfloat16") return std::optional(DType::bf16);
  return model_error(reader.name(key) + " is \"" + name +
                     "\", which is not supported; supported: float32, float16, bfloat16");
}

// The window of the layers that have one; 0 is none.
Result<uint64_t> read_window(const ConfigReader& reader, const Family& family) {
  if (family.windows == WindowRule::never) return uint64_t{0};
  if (family.windows == WindowRule::all_if_asked || family.windows == WindowRule::late_layers) {
    SPLITD_ASSIGN(const bool asked, reader.boolean("use_sliding_window", false));
    if (!asked) return uint64_t{0};
  }
  if (reader.is_null("sliding_window")) return uint64_t{0};
  const std::optional<Json> value = reader.find("sliding_window");
  if (!value) return family.window;
  return reader.integer("sliding_window", 1, 1, kMaxContext);
}

// Whether the family's rule gives layer `index` the window, which is not 0.
Result<bool> has_window(const ConfigReader& reader, const Family& family, uint32_t index) {
  switch (family.windows) {
    case WindowRule::never:
      return false;
    case WindowRule::all:
    case WindowRule::all_if_asked:
      return true;
    case WindowRule::late_layers: {
      SPLITD_ASSIGN(const uint64_t full,
                    reader.integer("max_window_layers", 28, 0, uint64_t{1} << 32));
      return index >= full;
    }
    case WindowRule::alternating:
      return index % 2 == 0;
    case WindowRule::pattern: {
      const std::string_view key = reader.find("sliding_window_pattern")
                                       ? "sliding_window_pattern"
                                       : "_sliding_window_pattern";
      SPLITD_ASSIGN(const uint64_t pattern, reader.integer(key, 6, 1, uint64_t{1} << 32));
      return (index + 1) % pattern != 0;
    }
  }
  return false;
}

// layer_types overrides the rule in families that have one per layer; elsewhere it may only agree.
Status apply_layer_types(const ConfigReader& reader, const Family& family, uint64_t window,
                         std::vector<LayerConfig>& layers) {
  SPLITD_ASSIGN(const std::vector<std::string> types, reader.strings("layer_types"));
  if (types.empty()) return {};
  if (types.size() != layers.size()) {
    return model_error(reader.name("layer_types") + " has " + std::to_string(types.size()) +
                       " entries for " + std::to_string(layers.size()) + " layers");
  }
  const bool may_differ = family.windows == WindowRule::late_layers ||
                          family.windows == WindowRule::alternating ||
                          family.windows == WindowRule::pattern;
  for (size_t i = 0; i < types.size(); ++i) {
    const std::string where =
        reader.name("layer_types") + "[" + std::to_string(i) + "] is \"" + types[i] + "\"";
    const bool sliding = types[i] == "sliding_attention";
    if (!sliding && types[i] != "full_attention") {
      return model_error(where +
                         ", which is not supported; supported: full_attention, sliding_attention");
    }
    if (sliding && window == 0) return model_error(where + ", but there is no sliding_window");
    if (!may_differ && sliding != (layers[i].window != 0)) {
      return model_error(where + "; all layers of the family " + std::string(family.model_type) +
                         " are alike, here " +
                         (window == 0 ? "full_attention" : "sliding_attention"));
    }
    layers[i].window = sliding ? window : 0;
  }
  return {};
}

Status read_layers(const ConfigReader& reader, const Family& family, ModelConfig& config) {
  SPLITD_ASSIGN(const uint64_t window, read_window(reader, family));
  config.layers.resize(config.n_layer);
  for (uint32_t i = 0; i < config.n_layer && window != 0; ++i) {
    SPLITD_ASSIGN(const bool sliding, has_window(reader, family, i));
    config.layers[i].window = sliding ? window : 0;
  }
  SPLITD_TRY(apply_layer_types(reader, family, window, config.layers));
  for (LayerConfig& layer : config.layers) {
    layer.rope = layer.window != 0 && family.window_theta > 0.0 ? 1 : 0;
  }
  return {};
}

Status read_experts(const ConfigReader& reader, ModelConfig& config) {
  const std::string_view key = reader.find("num_experts") ? "num_experts" : "num_local_experts";
  SPLITD_ASSIGN(const uint64_t n_expert, reader.integer(key, 128, 0, kMaxExperts));
  SPLITD_ASSIGN(const uint64_t step,
                reader.integer("decoder_sparse_step", 1, 1, uint64_t{1} << 32));
  for (uint32_t i = 0; i < config.n_layer; ++i) {
    config.layers[i].moe = n_expert > 0 && (i + 1) % step == 0;
  }
  if (const std::optional<Json> dense = reader.find("mlp_only_layers")) {
    if (!dense->is_array()) return reader.refuse("mlp_only_layers", *dense, "a list of layers");
    for (const Json item : dense->elements()) {
      const std::optional<uint64_t> index = item.to_u64();
      if (!index) return reader.refuse("mlp_only_layers", item, "a list of layers");
      if (*index < config.n_layer) config.layers[*index].moe = false;
    }
  }
  if (std::none_of(config.layers.begin(), config.layers.end(),
                   [](const LayerConfig& layer) { return layer.moe; })) {
    return {};
  }
  config.n_expert = static_cast<uint32_t>(n_expert);
  SPLITD_ASSIGN(config.n_expert_used, reader.count("num_experts_per_tok", 8, kMaxExperts));
  SPLITD_ASSIGN(config.d_ff_expert, reader.count("moe_intermediate_size", 768, kMaxModelDim));
  SPLITD_ASSIGN(config.norm_topk, reader.boolean("norm_topk_prob", false));
  return {};
}

// Adds the ids of an integer or a list of them; −1 is none. False when the file does not say.
Result<bool> add_eos(const ConfigReader& reader, std::vector<uint32_t>& eos) {
  constexpr std::string_view kKey = "eos_token_id";
  constexpr std::string_view kAccepted = "a token id or a list of them";
  const std::optional<Json> value = reader.find(kKey);
  if (!value) return reader.is_null(kKey);
  const auto add = [&](Json item) -> bool {
    const std::optional<int64_t> id = item.to_i64();
    if (!id || *id < -1 || *id >= int64_t{kMaxVocab}) return false;
    if (*id >= 0) eos.push_back(static_cast<uint32_t>(*id));
    return true;
  };
  if (value->is_array()) {
    for (const Json item : value->elements()) {
      if (!add(item)) return reader.refuse(kKey, item, kAccepted);
    }
  } else if (!add(*value)) {
    return reader.refuse(kKey, *value, kAccepted);
  }
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
  return true;
}

Status read_special_tokens(const Source& source, ModelConfig& config) {
  constexpr std::string_view kBos = "bos_token_id";
  const ConfigReader& reader = source.text.find(kBos) ? source.text : source.root;
  config.bos = source.family->bos;
  if (reader.is_null(kBos)) config.bos = -1;
  if (const std::optional<Json> value = reader.find(kBos)) {
    const std::optional<int64_t> id = value->to_i64();
    if (!id || *id < -1 || *id >= int64_t{kMaxVocab}) return reader.refuse(kBos, *value, "an id");
    config.bos = *id;
  }
  SPLITD_ASSIGN(bool stated, add_eos(source.text, config.eos));
  if (source.nested) {
    SPLITD_ASSIGN(const bool outer, add_eos(source.root, config.eos));
    stated = stated || outer;
  }
  config.eos_is_default = !stated;
  if (!stated && source.family->eos >= 0) {
    config.eos = {static_cast<uint32_t>(source.family->eos)};
  }
  return {};
}

}  // namespace

Result<ModelConfig> parse_config(Json json) {
  if (!json.is_object()) return model_error("is " + json.describe() + "; accepted: an object");
  SPLITD_ASSIGN(const Source source, find_source(ConfigReader(json, "")));
  const Family& family = *source.family;
  SPLITD_TRY(refuse_unsupported(source.root, family));
  if (source.nested) SPLITD_TRY(refuse_unsupported(source.text, family));

  ModelConfig config;
  config.family = family.model_type;
  SPLITD_TRY(read_sizes(source.text, family, config));
  SPLITD_TRY(read_features(source, config));
  SPLITD_TRY(read_layers(source.text, family, config));
  SPLITD_TRY(read_ropes(source.text, family, config));
  if (family.moe) SPLITD_TRY(read_experts(source.text, config));
  SPLITD_TRY(read_special_tokens(source, config));
  SPLITD_ASSIGN(std::optional<DType> dtype, read_dtype(source.text));
  if (!dtype && source.nested) {
    SPLITD_ASSIGN(dtype, read_dtype(source.root));
  }
  if (dtype) set_dtype(config, *dtype);
  SPLITD_TRY(check_config(config));
  return config;
}

Status add_generation_config(ModelConfig& config, Json json) {
  if (!json.is_object()) return model_error("is " + json.describe() + "; accepted: an object");
  std::vector<uint32_t> eos;
  if (!config.eos_is_default) eos = config.eos;
  SPLITD_ASSIGN(const bool stated, add_eos(ConfigReader(json, ""), eos));
  if (!stated) return {};
  config.eos = std::move(eos);
  config.eos_is_default = false;
  return {};
}

void set_dtype(ModelConfig& config, DType dtype) {
  config.dtype = dtype;
  if (dtype == DType::bf16) config.embed_scale = to_f32(to_bf16(config.embed_scale));
  if (dtype == DType::f16) config.embed_scale = to_f32(to_f16(config.embed_scale));
}

}  // namespace splitd

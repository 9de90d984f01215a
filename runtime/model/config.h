// Owns: what a model is, in one plain struct that drives every layer. No room above model/ needs a
// family's name: each difference between families is a field here. Read from a Hugging Face
// config.json (config_json.cpp) or GGUF metadata; immutable afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/formats/dtype.h"

namespace splitd {

// What a config may ask for at most. Far above every published model; low enough that no product of
// two of them overflows and that the list of all tensors stays small.
inline constexpr uint32_t kMaxLayers = 4096;
inline constexpr uint32_t kMaxModelDim = 1u << 20;  // d_model, d_ff, d_ff_expert
inline constexpr uint32_t kMaxHeads = 1u << 14;
inline constexpr uint32_t kMaxHeadDim = 1u << 14;
inline constexpr uint32_t kMaxVocab = 1u << 24;
inline constexpr uint32_t kMaxExperts = 1u << 14;
inline constexpr uint32_t kMaxExpertMatrices = 1u << 16;  // n_layer · n_expert
inline constexpr uint64_t kMaxContext = uint64_t{1} << 32;

enum class RopeKind : uint8_t { plain, linear, llama3, longrope };

struct RopeConfig {
  RopeKind kind = RopeKind::plain;
  double theta = 10000.0;
  uint32_t n_rotary = 0;         // leading dimensions of a head that turn; even
  double factor = 1.0;           // linear, llama3
  double low_freq_factor = 1.0;  // llama3
  double high_freq_factor = 4.0;
  uint64_t original_ctx = 0;         // llama3, longrope: context of the base model
  std::vector<float> short_factors;  // longrope: divisors of the frequencies, n_rotary / 2 of each
  std::vector<float> long_factors;
  float attention_factor = 1.0f;  // longrope: cos and sin are multiplied by it

  bool operator==(const RopeConfig&) const = default;
};

enum class Activation : uint8_t { silu, gelu_tanh, gelu_erf };

struct LayerConfig {
  uint64_t window = 0;  // a row attends to q − k < window; 0 is the whole context
  uint8_t rope = 0;     // index into ModelConfig::ropes
  bool moe = false;     // experts instead of one dense MLP

  bool operator==(const LayerConfig&) const = default;
};

struct ModelConfig {
  std::string family;  // for messages and inspect alone: "llama", "qwen3", …
  uint32_t d_model = 0;
  uint32_t n_layer = 0;
  uint32_t n_head = 0;
  uint32_t n_kv_head = 0;
  uint32_t d_head = 0;
  uint32_t d_ff = 0;
  uint32_t n_vocab = 0;
  uint64_t n_ctx = 0;  // the longest context the model was made for

  float norm_eps = 1e-5f;
  bool norm_plus_one = false;  // RMSNorm multiplies by 1 + w
  bool norm_after = false;     // a norm also after attention and after the MLP, before the add
  bool qk_norm = false;        // RMSNorm over each head of q and k, before RoPE
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool fused_qkv = false;      // one tensor with the rows of q, k, v in this order
  bool fused_gate_up = false;  // one tensor, gate first
  bool tied = false;           // the output head is the embedding
  Activation activation = Activation::silu;

  float attn_scale = 0.0f;     // scores are multiplied by it
  float attn_softcap = 0.0f;   // 0: none
  float final_softcap = 0.0f;  // 0: none
  float embed_scale = 1.0f;    // embeddings are multiplied by it; rounded to `dtype` already

  uint32_t n_expert = 0;  // 0: no MoE layer
  uint32_t n_expert_used = 0;
  uint32_t d_ff_expert = 0;
  bool norm_topk = false;  // the weights of the chosen experts are scaled to sum to 1

  std::vector<RopeConfig> ropes;
  std::vector<LayerConfig> layers;  // n_layer of them

  int64_t bos = -1;             // −1: none
  std::vector<uint32_t> eos;    // any of them ends a text; ascending
  bool eos_is_default = false;  // no file named them: the family's own

  // What the file says that the weights are stored as: F32, F16 or BF16.
  std::optional<DType> dtype;

  bool operator==(const ModelConfig&) const = default;
};

// The range of sizes, divisibility and lengths that every model has to keep to, wherever its config
// was read. What parse_config returns has passed.
[[nodiscard]] Status check_config(const ModelConfig& config);

// "llama, mistral, qwen2, …": for messages.
[[nodiscard]] std::string supported_families();

// From config.json, transformers 4 or 5 spelling, multimodal files by their text part. Refuses what
// is not supported by name, with the list of what is; names the field, the value and what is
// accepted when something else is wrong.
// A dtype that the file does not state is left out, and embed_scale is then not rounded:
// set_dtype().
[[nodiscard]] Result<ModelConfig> parse_config(Json config);

// The dtype of the weights where config.json was silent: rounds embed_scale to it.
void set_dtype(ModelConfig& config, DType dtype);

// Adds what generation_config.json says about EOS; a mere default of the family gives way to it.
[[nodiscard]] Status add_generation_config(ModelConfig& config, Json generation_config);

// The same text for the same arithmetic however the files spell it.
// Ids of special tokens, the advertised context and the storage dtype are not in it.
[[nodiscard]] std::string canonical_config(const ModelConfig& config);

// …and without what follows from the storage dtype (how the embedding's scale, √d_model, was
// rounded to it), as only the end with the embedding applies it: what the fingerprint hashes.
[[nodiscard]] std::string identity_config(ModelConfig config);

}  // namespace splitd

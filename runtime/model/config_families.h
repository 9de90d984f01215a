// Owns: what the supported families are and what transformers assumes of each where config.json is
// silent (checked against the configuration classes of transformers 5.23; version 4 agrees). The
// only place, with config_json.cpp and config_gguf.cpp, that knows families by name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/model/config.h"

namespace splitd {

// Which layers see only a window, when the config has one.
enum class WindowRule : uint8_t {
  never,         // a window in the config is ignored, as the reference does
  all,           // sliding_window null or absent by default: no window
  all_if_asked,  // only with use_sliding_window
  late_layers,   // with use_sliding_window, layers from max_window_layers on; or layer_types
  alternating,   // every second layer, the first included; or layer_types
  pattern,       // all but every sixth (sliding_window_pattern); or layer_types
};

struct Family {
  std::string_view model_type;    // of config.json, and the family's name
  std::string_view architecture;  // the class with a language-model head

  // Defaults of the configuration class. Zero is derived: n_kv_head = n_head, d_head = d_model /
  // n_head.
  uint32_t d_model = 4096;
  uint32_t d_ff = 11008;
  uint32_t n_layer = 32;
  uint32_t n_head = 32;
  uint32_t n_kv_head = 0;
  uint32_t d_head = 0;
  uint32_t n_vocab = 32000;
  uint64_t n_ctx = 2048;
  double norm_eps = 1e-6;
  double theta = 10000.0;
  uint64_t window = 0;  // 0: none
  int64_t bos = -1;     // -1: none
  int64_t eos = -1;
  bool tied = false;

  // What the modeling code does.
  WindowRule windows = WindowRule::never;
  bool qk_norm = false;
  bool fused = false;           // qkv_proj and gate_up_proj
  bool qkv_bias = false;        // always there
  bool attention_bias = false;  // the flag of that name counts, for q, k, v and o
  bool mlp_bias = false;        // the flag of that name counts
  bool partial_rotary = false;  // partial_rotary_factor counts
  bool moe = false;
  // Norms multiply by 1 + w and stand after the blocks too, the embedding is scaled; reads
  // hidden_activation and query_pre_attn_scalar.
  bool gemma = false;
  float attn_softcap = 0.0f;  // 0: none
  float final_softcap = 0.0f;
  double window_theta = 0.0;  // layers with a window have a rope of their own; 0: they do not
};

[[nodiscard]] std::span<const Family> all_families();
// nullptr if there is none.
[[nodiscard]] const Family* find_family(std::string_view model_type);

}  // namespace splitd

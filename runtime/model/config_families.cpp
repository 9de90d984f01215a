#include "runtime/model/config_families.h"

namespace splitd {
namespace {

constexpr Family kFamilies[] = {
    {
        .model_type = "llama",
        .architecture = "LlamaForCausalLM",
        .bos = 1,
        .eos = 2,
        .attention_bias = true,
        .mlp_bias = true,
    },
    {
        .model_type = "mistral",
        .architecture = "MistralForCausalLM",
        .d_ff = 14336,
        .n_kv_head = 8,
        .n_ctx = 131072,
        .window = 4096,
        .bos = 1,
        .eos = 2,
        .windows = WindowRule::all,
    },
    {
        .model_type = "qwen2",
        .architecture = "Qwen2ForCausalLM",
        .d_ff = 22016,
        .n_kv_head = 32,
        .n_vocab = 151936,
        .n_ctx = 32768,
        .window = 4096,
        .windows = WindowRule::late_layers,
        .qkv_bias = true,
    },
    {
        .model_type = "qwen3",
        .architecture = "Qwen3ForCausalLM",
        .d_ff = 22016,
        .n_kv_head = 32,
        .d_head = 128,
        .n_vocab = 151936,
        .n_ctx = 32768,
        .window = 4096,
        .windows = WindowRule::late_layers,
        .qk_norm = true,
        .attention_bias = true,
    },
    {
        .model_type = "qwen3_moe",
        .architecture = "Qwen3MoeForCausalLM",
        .d_model = 2048,
        .d_ff = 6144,
        .n_layer = 24,
        .n_kv_head = 4,
        .n_vocab = 151936,
        .n_ctx = 32768,
        .window = 4096,
        .windows = WindowRule::all_if_asked,
        .qk_norm = true,
        .attention_bias = true,
        .moe = true,
    },
    {
        .model_type = "phi3",
        .architecture = "Phi3ForCausalLM",
        .d_model = 3072,
        .d_ff = 8192,
        .n_vocab = 32064,
        .n_ctx = 4096,
        .norm_eps = 1e-5,
        .bos = 1,
        .eos = 32000,
        .windows = WindowRule::all,
        .fused = true,
        .partial_rotary = true,
    },
    {
        .model_type = "gemma2",
        .architecture = "Gemma2ForCausalLM",
        .d_model = 2304,
        .d_ff = 9216,
        .n_layer = 26,
        .n_head = 8,
        .n_kv_head = 4,
        .d_head = 256,
        .n_vocab = 256000,
        .n_ctx = 8192,
        .window = 4096,
        .bos = 2,
        .eos = 1,
        .tied = true,
        .windows = WindowRule::alternating,
        .attention_bias = true,
        .gemma = true,
        .attn_softcap = 50.0f,
        .final_softcap = 30.0f,
    },
    {
        .model_type = "gemma3_text",
        .architecture = "Gemma3ForCausalLM",
        .d_model = 2304,
        .d_ff = 9216,
        .n_layer = 26,
        .n_head = 8,
        .n_kv_head = 4,
        .d_head = 256,
        .n_vocab = 262208,
        .n_ctx = 131072,
        .theta = 1000000.0,
        .window = 4096,
        .bos = 2,
        .eos = 1,
        .tied = true,
        .windows = WindowRule::pattern,
        .qk_norm = true,
        .attention_bias = true,
        .gemma = true,
        .window_theta = 10000.0,
    },
};

}  // namespace

std::span<const Family> all_families() {
  return kFamilies;
}

const Family* find_family(std::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string supported_families() {
  std::string out;
  for (const Family& family : kFamilies) {
    if (!out.empty()) out += ", ";
    out += family.model_type;
  }
  return out + ", gemma3 (its text part)";
}

}  // namespace splitd

// config.json as the public models spell it (shortened to what matters), and what it has to mean.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/runtime/model/golden.h"

namespace splitd {
namespace {

ModelConfig must_read(std::string_view json) {
  Result<ModelConfig> config = config_of(json);
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? *config : ModelConfig{};
}

void expect_sizes(const ModelConfig& c, uint32_t d_model, uint32_t d_ff, uint32_t n_layer,
                  uint32_t n_head, uint32_t n_kv_head, uint32_t d_head, uint32_t n_vocab) {
  EXPECT_EQ(c.d_model, d_model);
  EXPECT_EQ(c.d_ff, d_ff);
  EXPECT_EQ(c.n_layer, n_layer);
  EXPECT_EQ(c.n_head, n_head);
  EXPECT_EQ(c.n_kv_head, n_kv_head);
  EXPECT_EQ(c.d_head, d_head);
  EXPECT_EQ(c.n_vocab, n_vocab);
  EXPECT_EQ(c.layers.size(), n_layer);
}

size_t windows(const ModelConfig& c) {
  size_t count = 0;
  for (const LayerConfig& layer : c.layers) count += layer.window != 0;
  return count;
}

constexpr std::string_view kLlama32 = R"({"architectures": ["LlamaForCausalLM"],
  "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
  "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
  "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
  "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256})";

TEST(PublicConfig, Llama32_1B) {
  const ModelConfig c = must_read(kLlama32);
  expect_sizes(c, 2048, 8192, 16, 32, 8, 64, 128256);
  EXPECT_EQ(c.n_ctx, 131072u);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(c.eos, (std::vector<uint32_t>{128001, 128008, 128009}));
  EXPECT_EQ(c.bos, 128000);
  ASSERT_EQ(c.ropes.size(), 1u);
  EXPECT_EQ(c.ropes[0].kind, RopeKind::llama3);
  EXPECT_EQ(c.ropes[0].factor, 32.0);
  EXPECT_EQ(c.ropes[0].original_ctx, 8192u);
  EXPECT_EQ(c.ropes[0].theta, 500000.0);
  EXPECT_EQ(c.ropes[0].n_rotary, 64u);
  EXPECT_FLOAT_EQ(c.attn_scale, 0.125f);
}

TEST(PublicConfig, Llama2_7B) {
  const ModelConfig c = must_read(R"({"architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
    "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
    "vocab_size": 32000})");
  expect_sizes(c, 4096, 11008, 32, 32, 32, 128, 32000);
  EXPECT_EQ(c.ropes[0].theta, 10000.0);
  EXPECT_EQ(c.dtype, DType::f16);
  EXPECT_FALSE(c.tied);
}

TEST(PublicConfig, Mistral) {
  constexpr std::string_view kV03 = R"({"architectures": ["MistralForCausalLM"],
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
    "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
    "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "vocab_size": 32768})";
  const ModelConfig c = must_read(kV03);
  expect_sizes(c, 4096, 14336, 32, 32, 8, 128, 32768);
  EXPECT_EQ(windows(c), 0u);
  EXPECT_EQ(c.ropes[0].theta, 1000000.0);
  // v0.1 has a window, and the class's default is one too.
  EXPECT_EQ(windows(must_read(replaced(std::string(kV03), "null", "4096"))), 32u);
  const ModelConfig silent =
      must_read(replaced(std::string(kV03), R"("sliding_window": null,)", ""));
  EXPECT_EQ(silent.layers[31].window, 4096u);
}

TEST(PublicConfig, MistralNemo) {
  const ModelConfig c = must_read(R"({"architectures": ["MistralForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120,
    "intermediate_size": 14336, "max_position_embeddings": 1024000, "model_type": "mistral",
    "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 131072})");
  expect_sizes(c, 5120, 14336, 40, 32, 8, 128, 131072);
  EXPECT_FLOAT_EQ(c.attn_scale, static_cast<float>(1.0 / std::sqrt(128.0)));
}

constexpr std::string_view kQwen25 = R"({"architectures": ["Qwen2ForCausalLM"],
  "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu",
  "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768,
  "max_window_layers": 20, "model_type": "qwen2", "num_attention_heads": 14,
  "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
  "torch_dtype": "bfloat16", "use_cache": true, "use_mrope": false, "use_sliding_window": false,
  "vocab_size": 151936})";

TEST(PublicConfig, Qwen25_05B) {
  const ModelConfig c = must_read(kQwen25);
  expect_sizes(c, 896, 4864, 24, 14, 2, 64, 151936);
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.o_bias);
  EXPECT_FALSE(c.qk_norm);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(windows(c), 0u);
  EXPECT_EQ(c.norm_eps, 1e-6f);
}

TEST(PublicConfig, QwenWindowsFromMaxWindowLayersOn) {
  const ModelConfig c = must_read(replaced(std::string(kQwen25), R"("use_sliding_window": false)",
                                           R"("use_sliding_window": true)"));
  EXPECT_EQ(windows(c), 4u);
  EXPECT_EQ(c.layers[19].window, 0u);
  EXPECT_EQ(c.layers[20].window, 32768u);
}

TEST(PublicConfig, Qwen3) {
  constexpr std::string_view k06 = R"({"architectures": ["Qwen3ForCausalLM"],
    "attention_bias": false, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
    "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_sliding_window": false,
    "vocab_size": 151936})";
  const ModelConfig c = must_read(k06);
  expect_sizes(c, 1024, 3072, 28, 16, 8, 128, 151936);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.qkv_bias);
  EXPECT_EQ(c.ropes[0].theta, 1000000.0);
  // The class's default width of a head, where the file is silent.
  EXPECT_EQ(must_read(replaced(std::string(k06), R"("head_dim": 128,)", "")).d_head, 128u);
}

TEST(PublicConfig, Qwen3_30B_A3B) {
  const ModelConfig c = must_read(R"({"architectures": ["Qwen3MoeForCausalLM"],
    "attention_bias": false, "bos_token_id": 151643, "decoder_sparse_step": 1,
    "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
    "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48,
    "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
    "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
    "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_scaling": null,
    "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_sliding_window": false,
    "vocab_size": 151936})");
  expect_sizes(c, 2048, 6144, 48, 32, 4, 128, 151936);
  EXPECT_EQ(c.n_expert, 128u);
  EXPECT_EQ(c.n_expert_used, 8u);
  EXPECT_EQ(c.d_ff_expert, 768u);
  EXPECT_TRUE(c.norm_topk);
  for (const LayerConfig& layer : c.layers) EXPECT_TRUE(layer.moe);
}

std::string factors(size_t count, double first) {
  std::string out = "[";
  for (size_t i = 0; i < count; ++i) {
    out += (i == 0 ? "" : ", ") + std::to_string(first + 0.25 * static_cast<double>(i));
  }
  return out + "]";
}

std::string phi3_mini_128k() {
  return R"({"architectures": ["Phi3ForCausalLM"], "attention_bias": false,
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "bos_token_id": 1,
    "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072,
    "intermediate_size": 8192, "max_position_embeddings": 131072, "model_type": "phi3",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
    "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": )" +
         factors(48, 1.08) + R"(, "short_factor": )" + factors(48, 1.0) +
         R"(, "type": "longrope"}, "rope_theta": 10000.0, "sliding_window": 262144,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32064})";
}

TEST(PublicConfig, Phi3Mini128k) {
  const ModelConfig c = must_read(phi3_mini_128k());
  expect_sizes(c, 3072, 8192, 32, 32, 32, 96, 32064);
  EXPECT_TRUE(c.fused_qkv);
  EXPECT_TRUE(c.fused_gate_up);
  EXPECT_EQ(windows(c), 32u);
  const RopeConfig& rope = c.ropes.at(0);
  EXPECT_EQ(rope.kind, RopeKind::longrope);
  EXPECT_EQ(rope.n_rotary, 96u);
  EXPECT_EQ(rope.original_ctx, 4096u);
  EXPECT_EQ(rope.long_factors.size(), 48u);
  EXPECT_FLOAT_EQ(rope.long_factors[1], 1.33f);
  EXPECT_FLOAT_EQ(rope.short_factors[1], 1.25f);
  EXPECT_NEAR(rope.attention_factor, 1.19024f, 1e-5);  // sqrt(1 + ln 32 / ln 4096)

  // The name that the first files used.
  EXPECT_EQ(must_read(replaced(phi3_mini_128k(), "longrope", "su")), c);
  // A stated factor wins over the formula.
  const std::string stated =
      replaced(phi3_mini_128k(), R"("type": "longrope")",
               R"("type": "longrope", "attention_factor": 1.5, "short_mscale": 1.5)");
  EXPECT_EQ(must_read(stated).ropes.at(0).attention_factor, 1.5f);
  EXPECT_NE(error_of(replaced(stated, R"("short_mscale": 1.5)", R"("short_mscale": 1.25)"))
                .find("short_mscale is 1.25; accepted: the attention factor, 1.5"),
            std::string::npos);
  // The original context may stand inside instead.
  const std::string inside = replaced(
      replaced(phi3_mini_128k(), R"("original_max_position_embeddings": 4096,)", ""),
      R"("type": "longrope")", R"("type": "longrope", "original_max_position_embeddings": 8192)");
  EXPECT_EQ(must_read(inside).ropes.at(0).original_ctx, 8192u);
}

TEST(PublicConfig, Phi4Mini) {
  const ModelConfig c = must_read(R"({"architectures": ["Phi3ForCausalLM"],
    "attention_bias": false, "bos_token_id": 199999, "eos_token_id": 199999, "full_attn_mod": 1,
    "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192, "interpolate_factor": 1,
    "lm_head_bias": false, "max_position_embeddings": 131072, "mlp_bias": false,
    "model_type": "phi3", "num_attention_heads": 24, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "original_max_position_embeddings": 4096, "pad_token_id": 199999,
    "partial_rotary_factor": 0.75, "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": )" +
                                  factors(48, 1.0) + R"(, "short_factor": )" + factors(48, 1.0) +
                                  R"(, "type": "longrope"}, "rope_theta": 10000.0,
    "sliding_window": 262144, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "vocab_size": 200064})");
  expect_sizes(c, 3072, 8192, 32, 24, 8, 128, 200064);
  EXPECT_EQ(c.ropes.at(0).n_rotary, 96u);
  EXPECT_TRUE(c.tied);
}

TEST(PublicConfig, Gemma2_2B) {
  const ModelConfig c = must_read(R"({"architectures": ["Gemma2ForCausalLM"],
    "attention_bias": false, "attn_logit_softcapping": 50.0, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0,
    "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304, "intermediate_size": 9216, "max_position_embeddings": 8192,
    "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26,
    "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
    "torch_dtype": "float32", "vocab_size": 256000})");
  expect_sizes(c, 2304, 9216, 26, 8, 4, 256, 256000);
  EXPECT_EQ(c.attn_softcap, 50.0f);
  EXPECT_EQ(c.final_softcap, 30.0f);
  EXPECT_EQ(c.embed_scale, 48.0f);
  EXPECT_EQ(c.attn_scale, 1.0f / 16.0f);
  EXPECT_TRUE(c.tied && c.norm_plus_one && c.norm_after);
  EXPECT_EQ(c.layers[0].window, 4096u);
  EXPECT_EQ(c.layers[1].window, 0u);
  EXPECT_EQ(windows(c), 13u);
}

TEST(PublicConfig, Gemma3_1B) {
  const ModelConfig c = must_read(R"({"architectures": ["Gemma3ForCausalLM"],
    "attention_bias": false, "attn_logit_softcapping": null, "bos_token_id": 2,
    "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": null,
    "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text",
    "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
    "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
    "vocab_size": 262144})");
  expect_sizes(c, 1152, 6912, 26, 4, 1, 256, 262144);
  EXPECT_EQ(c.embed_scale, 34.0f);  // √1152 = 33.94 as bf16
  EXPECT_EQ(c.attn_softcap, 0.0f);
  EXPECT_EQ(windows(c), 22u);
  EXPECT_EQ(c.layers[5], (LayerConfig{0, 0, false}));
  EXPECT_EQ(c.layers[6], (LayerConfig{512, 1, false}));
  EXPECT_EQ(c.ropes.at(0).theta, 1000000.0);
  EXPECT_EQ(c.ropes.at(1).theta, 10000.0);
}

TEST(PublicConfig, Gemma3_4B_NestedWithoutDefaults) {
  constexpr std::string_view k4b = R"({"architectures": ["Gemma3ForConditionalGeneration"],
    "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106],
    "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
    "model_type": "gemma3",
    "text_config": {"hidden_size": 2560, "intermediate_size": 10240,
      "model_type": "gemma3_text", "num_hidden_layers": 34,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
    "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"}})";
  const ModelConfig c = must_read(k4b);
  expect_sizes(c, 2560, 10240, 34, 8, 4, 256, 262208);
  EXPECT_EQ(c.family, "gemma3_text");
  EXPECT_EQ(c.n_ctx, 131072u);
  EXPECT_EQ(c.embed_scale, 50.5f);  // √2560 = 50.596 as bf16
  EXPECT_EQ(c.attn_scale, 1.0f / 16.0f);
  EXPECT_TRUE(c.tied && c.qk_norm);
  EXPECT_EQ(c.eos, (std::vector<uint32_t>{1, 106}));
  EXPECT_EQ(c.bos, 2);
  EXPECT_EQ(c.ropes.at(0).kind, RopeKind::linear);
  EXPECT_EQ(c.ropes.at(0).factor, 8.0);
  EXPECT_EQ(c.ropes.at(0).theta, 1000000.0);
  EXPECT_EQ(c.ropes.at(1).kind, RopeKind::plain);
  EXPECT_EQ(c.layers[5].window, 0u);
  EXPECT_EQ(windows(c), 29u);
  // 27B: its own width of a head, heads and attention scale.
  const ModelConfig big =
      must_read(replaced(std::string(k4b), R"("hidden_size": 2560)",
                         R"("head_dim": 128, "num_attention_heads": 32, "num_key_value_heads": 16,
         "query_pre_attn_scalar": 168, "hidden_size": 5376)"));
  expect_sizes(big, 5376, 10240, 34, 32, 16, 128, 262208);
  EXPECT_FLOAT_EQ(big.attn_scale, static_cast<float>(1.0 / std::sqrt(168.0)));
}

TEST(PublicConfig, Version5SpellingMeansTheSame) {
  std::string v5(kLlama32);
  v5 = replaced(v5, R"("rope_scaling": {)", R"("rope_parameters": {"rope_theta": 500000.0, )");
  v5 = replaced(v5, R"("rope_theta": 500000.0, "tie)", R"("tie)");
  v5 = replaced(v5, "torch_dtype", "dtype");
  EXPECT_EQ(must_read(v5), must_read(kLlama32));
  EXPECT_EQ(canonical_config(must_read(v5)), canonical_config(must_read(kLlama32)));
}

TEST(GenerationConfig, AddsToEos) {
  ModelConfig c = must_read(kQwen25);
  const Result<JsonDoc> doc = JsonDoc::parse(R"({"eos_token_id": [151645, 151643]})");
  ASSERT_TRUE(doc.ok());
  ASSERT_TRUE(add_generation_config(c, doc->root()).ok());
  EXPECT_EQ(c.eos, (std::vector<uint32_t>{151643, 151645}));
}

TEST(GenerationConfig, ReplacesAMereDefault) {
  ModelConfig c = must_read(R"({"model_type": "llama"})");
  EXPECT_EQ(c.eos, std::vector<uint32_t>{2});
  const Result<JsonDoc> doc = JsonDoc::parse(R"({"eos_token_id": 7})");
  ASSERT_TRUE(add_generation_config(c, doc->root()).ok());
  EXPECT_EQ(c.eos, std::vector<uint32_t>{7});
  const Result<JsonDoc> bad = JsonDoc::parse(R"({"eos_token_id": "x"})");
  EXPECT_FALSE(add_generation_config(c, bad->root()).ok());
}

}  // namespace
}  // namespace splitd

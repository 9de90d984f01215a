// Golden configs, transformers 4 and 5 spelling, against what make_models.py asked for. Every field
// that a case does not name has to keep its neutral value.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/runtime/model/golden.h"

namespace splitd {
namespace {

ModelConfig read_golden(std::string_view name) {
  const Result<std::string> text = read_file(golden_model(name) + "/config.json");
  if (!text) return {};
  Result<ModelConfig> config = config_of(*text);
  EXPECT_TRUE(config.ok()) << name << ": " << config.error().message;
  return config.ok() ? *config : ModelConfig{};
}

RopeConfig plain_rope(double theta, uint32_t n_rotary) {
  RopeConfig rope;
  rope.theta = theta;
  rope.n_rotary = n_rotary;
  return rope;
}

// What most cases share.
ModelConfig base() {
  ModelConfig c;
  c.family = "llama";
  c.d_model = 64;
  c.n_layer = 3;
  c.n_head = 4;
  c.n_kv_head = 2;
  c.d_head = 16;
  c.d_ff = 96;
  c.n_vocab = 256;
  c.n_ctx = 512;
  c.norm_eps = 1e-5f;
  c.attn_scale = 0.25f;
  c.ropes = {plain_rope(10000.0, 16)};
  c.layers.resize(3);
  c.bos = 1;
  c.eos = {2};
  c.dtype = DType::bf16;
  return c;
}

void set_head(ModelConfig& c, uint32_t d_head) {
  c.d_head = d_head;
  c.attn_scale = static_cast<float>(1.0 / std::sqrt(double(d_head)));
  for (RopeConfig& rope : c.ropes) rope.n_rotary = d_head;
}

void expect_golden(std::string_view name, const ModelConfig& expected) {
  const ModelConfig actual = read_golden(name);
  EXPECT_EQ(canonical_config(actual), canonical_config(expected)) << name;
  EXPECT_EQ(actual, expected) << name;
  EXPECT_FLOAT_EQ(actual.attn_scale, expected.attn_scale);
}

TEST(GoldenConfig, Llama) {
  ModelConfig c = base();
  c.d_model = 48;
  c.d_ff = 64;
  c.dtype = DType::f32;
  set_head(c, 12);
  expect_golden("llama", c);
  expect_golden("llama_bf16", base());
  expect_golden("llama_sharded", base());

  c = base();
  c.n_kv_head = 4;
  c.dtype = DType::f16;
  expect_golden("llama_f16_mha", c);

  c = base();
  c.qkv_bias = c.o_bias = c.mlp_bias = true;
  expect_golden("llama_bias", c);

  c = base();
  c.d_model = 72;
  c.n_head = 9;
  c.n_kv_head = 3;
  c.tied = true;
  set_head(c, 8);
  expect_golden("smollm2_like", c);
}

TEST(GoldenConfig, Llama3Rope) {
  ModelConfig c = base();
  c.tied = true;
  RopeConfig& rope = c.ropes[0];
  rope.kind = RopeKind::llama3;
  rope.theta = 500000.0;
  rope.factor = 8.0;
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_ctx = 32;
  expect_golden("llama_tied_llama3rope", c);
  expect_golden("llama_tied_llama3rope_v4", c);
}

TEST(GoldenConfig, Mistral) {
  ModelConfig c = base();
  c.family = "mistral";
  set_head(c, 8);
  expect_golden("mistral_nemo", c);
  set_head(c, 24);
  for (LayerConfig& layer : c.layers) layer.window = 16;
  expect_golden("mistral_window", c);
}

TEST(GoldenConfig, Qwen) {
  ModelConfig c = base();
  c.family = "qwen2";
  c.tied = c.qkv_bias = true;  // and the window is not used
  expect_golden("qwen2", c);

  c = base();
  c.family = "qwen3";
  c.tied = c.qk_norm = true;
  set_head(c, 24);
  expect_golden("qwen3", c);

  c.family = "qwen3_moe";
  c.tied = false;
  c.n_expert = 8;
  c.n_expert_used = 2;
  c.d_ff_expert = 32;
  c.norm_topk = true;
  c.layers[0].moe = c.layers[2].moe = true;  // mlp_only_layers: 1
  expect_golden("qwen3_moe", c);

  c.norm_topk = false;
  c.n_layer = 2;
  c.layers.assign(2, {});
  c.layers[1].moe = true;  // decoder_sparse_step 2
  expect_golden("qwen3_moe_v4", c);
}

TEST(GoldenConfig, Phi3) {
  ModelConfig c = base();
  c.family = "phi3";
  c.fused_qkv = c.fused_gate_up = true;
  RopeConfig& rope = c.ropes[0];
  rope.kind = RopeKind::longrope;
  rope.n_rotary = 12;
  rope.original_ctx = 32;
  rope.short_factors = {1.0f, 1.05f, 1.1f, 1.15f, 1.2f, 1.25f};
  rope.long_factors = {1.0f, 1.9f, 2.8f, 3.7f, 4.6f, 5.5f};
  rope.attention_factor = static_cast<float>(std::sqrt(1.0 + std::log(512.0 / 32) / std::log(32)));
  expect_golden("phi3_longrope_long", c);
  rope.original_ctx = 128;
  rope.attention_factor =
      static_cast<float>(std::sqrt(1.0 + std::log(512.0 / 128) / std::log(128)));
  expect_golden("phi3_longrope_short", c);
}

ModelConfig gemma() {
  ModelConfig c = base();
  c.norm_eps = 1e-6f;
  c.norm_plus_one = c.norm_after = c.tied = true;
  c.activation = Activation::gelu_tanh;
  c.attn_scale = static_cast<float>(1.0 / std::sqrt(8.0));
  c.d_ff = 64;
  c.bos = 2;
  c.eos = {1, 106};
  return c;
}

TEST(GoldenConfig, Gemma2) {
  ModelConfig c = gemma();
  c.family = "gemma2";
  c.d_model = 48;
  c.n_layer = 4;
  c.layers.assign(4, {});
  c.layers[0].window = c.layers[2].window = 16;
  c.attn_softcap = 10.0f;
  c.final_softcap = 20.0f;
  c.embed_scale = std::sqrt(48.0f);
  c.dtype = DType::f32;
  expect_golden("gemma2", c);
}

TEST(GoldenConfig, Gemma3) {
  ModelConfig c = gemma();
  c.family = "gemma3_text";
  c.n_head = 2;
  c.n_kv_head = 1;
  c.d_head = 24;
  c.n_layer = 7;
  c.qk_norm = true;
  c.embed_scale = 8.0f;
  c.layers.assign(7, LayerConfig{16, 1, false});
  c.layers[5] = {0, 0, false};
  RopeConfig full = plain_rope(1000000.0, 24);
  full.kind = RopeKind::linear;
  full.factor = 4.0;
  c.ropes = {full, plain_rope(10000.0, 24)};
  expect_golden("gemma3_text", c);
  expect_golden("gemma3_text_v4", c);
}

TEST(GoldenConfig, EveryModelIsRead) {
  for (const std::string& name : golden_names()) {
    EXPECT_EQ(read_golden(name).n_vocab, 256u) << name;
  }
}

// What determines arithmetic changes the canonical text, what does not leaves it alone.
TEST(CanonicalConfig, HoldsArithmeticAlone) {
  const ModelConfig c = read_golden("gemma3_text");
  const std::string text = canonical_config(c);
  const auto changed = [&](auto change) {
    ModelConfig other = c;
    change(other);
    return canonical_config(other) != text;
  };
  EXPECT_FALSE(changed([](ModelConfig& m) { m.eos = {7}; }));
  EXPECT_FALSE(changed([](ModelConfig& m) { m.bos = 7; }));
  EXPECT_FALSE(changed([](ModelConfig& m) { m.n_ctx = 7; }));
  EXPECT_FALSE(changed([](ModelConfig& m) { m.family = "x"; }));
  EXPECT_FALSE(changed([](ModelConfig& m) { m.dtype = DType::f32; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.norm_eps = 2e-6f; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.layers[3].window = 17; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.layers[3].rope = 0; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.ropes[0].factor = 5.0; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.ropes[1].theta = 5.0; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.embed_scale = 5.0f; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.norm_plus_one = false; }));
  EXPECT_TRUE(changed([](ModelConfig& m) { m.activation = Activation::gelu_erf; }));
}

TEST(CanonicalConfig, IdentityLeavesOutHowTheEmbeddingScaleWasRounded) {
  ModelConfig c;
  c.d_model = 640;
  c.embed_scale = std::sqrt(640.0f);
  const std::string text = identity_config(c);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    ModelConfig rounded = c;
    set_dtype(rounded, dtype);
    EXPECT_EQ(rounded.embed_scale == c.embed_scale, dtype == DType::f32);
    EXPECT_EQ(canonical_config(rounded) == canonical_config(c), dtype == DType::f32);
    EXPECT_EQ(identity_config(rounded), text);
  }
  c.embed_scale = 1.0f;  // no Gemma
  EXPECT_NE(identity_config(c), text);
}

}  // namespace
}  // namespace splitd

// What a config may not say: each case is a small change to one that is accepted.
#include <gtest/gtest.h>

#include "tests/runtime/model/golden.h"

namespace splitd {
namespace {

const std::string kLlama = R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
  "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 512,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16"})";

// kLlama with another member, or with another value of one that it has.
std::string with(std::string_view key, std::string_view value) {
  const std::string quoted = "\"" + std::string(key) + "\": ";
  const size_t at = kLlama.find(quoted);
  if (at == std::string::npos) {
    return kLlama.substr(0, kLlama.size() - 1) + ", " + quoted + std::string(value) + "}";
  }
  const size_t begin = at + quoted.size();
  const size_t end = kLlama.find_first_of(kLlama[begin] == '[' ? "]" : ",}", begin) +
                     (kLlama[begin] == '[' ? 1 : 0);
  return kLlama.substr(0, begin) + std::string(value) + kLlama.substr(end);
}

std::string of_family(std::string_view type, std::string_view architecture,
                      std::string_view more = "") {
  std::string json = replaced(replaced(kLlama, "\"llama\"", "\"" + std::string(type) + "\""),
                              "LlamaForCausalLM", architecture);
  return json.substr(0, json.size() - 1) + std::string(more) + "}";
}

void expect_refused(const std::string& json, std::string_view message) {
  const std::string error = error_of(json);
  EXPECT_NE(error.find(message), std::string::npos) << error << "\n  for " << json;
  const Result<ModelConfig> config = config_of(json);
  if (!config.ok()) {
    EXPECT_EQ(config.error().kind, ErrorKind::model);
  }
}

TEST(ConfigRefusal, TheTwinIsAccepted) {
  ASSERT_EQ(error_of(kLlama), "accepted");
  EXPECT_EQ(error_of(with("some_new_key", R"({"a": [1, 2]})")), "accepted");
  EXPECT_EQ(error_of(with("num_key_value_heads", "null")), "accepted");
  EXPECT_EQ(error_of(with("rope_scaling", "null")), "accepted");
  EXPECT_EQ(error_of(with("architectures", "null")), "accepted");
  EXPECT_EQ(error_of(of_family("qwen3", "Qwen3ForCausalLM")), "accepted");
}

TEST(ConfigRefusal, NotAModel) {
  expect_refused("[]", "is an array of 0; accepted: an object");
  expect_refused("{}",
                 "model_type is missing; supported: llama, mistral, qwen2, qwen3, "
                 "qwen3_moe, phi3, gemma2, gemma3_text, gemma3 (its text part)");
  expect_refused(with("model_type", R"("mixtral")"),
                 "model_type \"mixtral\" is not supported; supported: llama, mistral");
  expect_refused(with("model_type", "7"), "model_type is 7; accepted: a string");
  expect_refused(R"({"architectures": ["BertForMaskedLM"]})",
                 "architecture \"BertForMaskedLM\" is not supported; supported: llama");
  expect_refused(with("architectures", R"(["LlamaForSequenceClassification"])"),
                 "\"LlamaForSequenceClassification\" of a model_type \"llama\" is not supported; "
                 "supported: LlamaForCausalLM");
  expect_refused(with("architectures", R"("LlamaForCausalLM")"), "accepted: a list of strings");
  expect_refused(R"({"model_type": "llama", "model_type": "llama"})", "model_type");
}

TEST(ConfigRefusal, Sizes) {
  for (const std::string_view key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "vocab_size", "max_position_embeddings", "head_dim"}) {
    for (const std::string_view value :
         {"0", "-1", "64.0", "1e3", "\"64\"", "[64]", "99999999999999999999", "true"}) {
      expect_refused(with(key, value), std::string(key) + " is ");
    }
  }
  expect_refused(with("num_hidden_layers", "4097"), "an integer from 1 to 4096");
  expect_refused(with("num_key_value_heads", "3"), "4 heads cannot share 3 kv heads");
  expect_refused(with("num_key_value_heads", "8"), "the number of kv heads is 8; accepted: 1 to 4");
  expect_refused(with("hidden_size", "66"),
                 "hidden_size 66 is no multiple of num_attention_heads 4");
  expect_refused(with("head_dim", "15"), "rope turns 15 dimensions of a head of 15");
  // Each size is allowed, their product is not.
  expect_refused(replaced(with("head_dim", "16384"), R"("num_attention_heads": 4)",
                          R"("num_attention_heads": 16384)"),
                 "the heads' width together is 268435456");
}

TEST(ConfigRefusal, Numbers) {
  for (const std::string_view value : {"0", "-1e-5", "1e999", "\"x\"", "1e-300", "1e300"}) {
    expect_refused(with("rms_norm_eps", value), "rms_norm_eps is ");
    expect_refused(with("rope_theta", value), "rope_theta is ");
  }
  expect_refused(with("tie_word_embeddings", "1"),
                 "tie_word_embeddings is 1; accepted: true or false");
  expect_refused(with("torch_dtype", R"("float8_e4m3fn")"),
                 "torch_dtype is \"float8_e4m3fn\", which is not supported; supported: float32, "
                 "float16, bfloat16");
  expect_refused(with("hidden_act", R"("relu")"),
                 "hidden_act is \"relu\", which is not supported; supported: silu, gelu, "
                 "gelu_pytorch_tanh");
  expect_refused(with("eos_token_id", "-2"), "eos_token_id is -2; accepted: a token id");
  expect_refused(with("eos_token_id", R"([1, "x"])"), "eos_token_id is \"x\"");
  expect_refused(with("bos_token_id", "1.5"), "bos_token_id is 1.5");
}

TEST(ConfigRefusal, Features) {
  expect_refused(with("quantization_config", R"({"quant_method": "gptq", "bits": 4})"),
                 "quantization_config asks for gptq, which is not supported; supported: weights "
                 "stored as F32, F16 or BF16");
  for (const std::string_view method : {"awq", "fp8", "bitsandbytes", "compressed-tensors"}) {
    expect_refused(
        with("quantization_config", "{\"quant_method\": \"" + std::string(method) + "\"}"),
        "asks for " + std::string(method));
  }
  expect_refused(with("quantization_config", "{}"), "asks for an unnamed method");
  expect_refused(with("is_encoder_decoder", "true"), "is_encoder_decoder is true");
  expect_refused(with("use_bidirectional_attention", "true"),
                 "use_bidirectional_attention is true");
  expect_refused(with("lm_head_bias", "true"), "lm_head_bias is true");
  expect_refused(of_family("mistral", "MistralForCausalLM", R"(, "attention_bias": true)"),
                 "attention_bias is true, which is not supported: the family mistral has no such");
  expect_refused(of_family("qwen3", "Qwen3ForCausalLM", R"(, "mlp_bias": true)"),
                 "mlp_bias is true");
  EXPECT_EQ(error_of(with("attention_bias", "true")), "accepted");
  EXPECT_EQ(error_of(with("mlp_bias", "true")), "accepted");
}

TEST(ConfigRefusal, Windows) {
  const auto mistral = [](std::string_view window) {
    return of_family("mistral", "MistralForCausalLM",
                     ", \"sliding_window\": " + std::string(window));
  };
  EXPECT_EQ(error_of(mistral("8")), "accepted");
  EXPECT_EQ(error_of(mistral("null")), "accepted");
  for (const std::string_view value : {"0", "-8", "8.5", "\"8\""}) {
    expect_refused(mistral(value), "sliding_window is ");
  }
  const auto qwen3 = [](std::string_view types, std::string_view more = "") {
    return of_family("qwen3", "Qwen3ForCausalLM",
                     ", \"layer_types\": " + std::string(types) + std::string(more));
  };
  EXPECT_EQ(error_of(qwen3(R"(["full_attention", "full_attention", "full_attention"])")),
            "accepted");
  expect_refused(qwen3(R"(["full_attention"])"), "layer_types has 1 entries for 3 layers");
  expect_refused(qwen3(R"(["full_attention", "linear_attention", "full_attention"])"),
                 "layer_types[1] is \"linear_attention\", which is not supported");
  const std::string sliding = R"(["full_attention", "full_attention", "sliding_attention"])";
  expect_refused(qwen3(sliding), "layer_types[2] is \"sliding_attention\", but there is no");
  EXPECT_EQ(error_of(qwen3(sliding, R"(, "use_sliding_window": true, "sliding_window": 8)")),
            "accepted");
  expect_refused(
      of_family("mistral", "MistralForCausalLM",
                R"(, "sliding_window": 8, "layer_types": ["sliding_attention",
                   "sliding_attention", "full_attention"])"),
      "layer_types[2] is \"full_attention\"; all layers of the family mistral are alike");
  expect_refused(of_family("gemma3_text", "Gemma3ForCausalLM", R"(, "sliding_window_pattern": 0)"),
                 "sliding_window_pattern is 0");
}

TEST(ConfigRefusal, Rope) {
  const auto scaling = [](std::string_view value) { return with("rope_scaling", value); };
  for (const std::string_view kind : {"yarn", "dynamic", "su", "mrope", "x"}) {
    expect_refused(scaling("{\"rope_type\": \"" + std::string(kind) + "\", \"factor\": 2.0}"),
                   "rope_scaling.rope_type is \"" + std::string(kind) +
                       "\", which is not supported; supported: default, linear, llama3, longrope");
  }
  expect_refused(scaling(R"({"type": "dynamic"})"), "rope_scaling.type is \"dynamic\"");
  EXPECT_EQ(error_of(scaling(R"({"type": "linear", "factor": 2})")), "accepted");
  expect_refused(scaling(R"({"type": "linear"})"), "rope_scaling.factor is missing");
  expect_refused(scaling(R"({"type": "linear", "factor": 0})"), "rope_scaling.factor is 0");
  expect_refused(scaling("7"), "rope_scaling is 7; accepted: an object or null");
  expect_refused(scaling(R"({"rope_type": "llama3", "factor": 8.0})"),
                 "rope_scaling.low_freq_factor is missing");
  const std::string llama3 = R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32})";
  EXPECT_EQ(error_of(scaling(llama3)), "accepted");
  expect_refused(scaling(replaced(llama3, "4.0", "1.0")),
                 "rope_scaling.high_freq_factor is 1.0; accepted: more than low_freq_factor");
  expect_refused(scaling(replaced(llama3, "32", "0")), "original_max_position_embeddings is 0");
  expect_refused(with("partial_rotary_factor", "0.5"), "partial_rotary_factor is 0.5; accepted: 1");
  expect_refused(with("rope_parameters", R"({"full_attention": {"rope_theta": 1.0}})"),
                 "one rope for all layers of this family");
  // Both spellings, in agreement and not.
  const std::string both =
      replaced(scaling(llama3), "\"rope_theta\"",
               R"("rope_parameters": {"rope_type": "llama3", "rope_theta": 9.0}, "rope_theta")");
  EXPECT_EQ(error_of(both), "accepted");
  expect_refused(replaced(both, "\"llama3\"", "\"linear\""), "name different kinds of rope");
}

TEST(ConfigRefusal, Longrope) {
  const auto phi3 = [](std::string_view rope, std::string_view more = "") {
    return of_family("phi3", "Phi3ForCausalLM",
                     ", \"rope_scaling\": " + std::string(rope) + std::string(more));
  };
  const std::string good = R"({"type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1],
    "long_factor": [1, 2, 3, 4, 5, 6, 7, 8]})";
  EXPECT_EQ(error_of(phi3(good)), "accepted");
  expect_refused(phi3(replaced(good, "[1, 2, ", "[2, ")),
                 "rope_scaling.long_factor is an array of 7; accepted: a list of 8 positive");
  expect_refused(phi3(replaced(good, "[1, 2, ", "[1, 0, ")), "rope_scaling.long_factor is 0");
  expect_refused(phi3(replaced(good, "[1, 2, ", "[1, 1e99, ")), "rope_scaling.long_factor is 1e99");
  expect_refused(phi3(replaced(good, "short_factor", "other")), "short_factor is missing");
  expect_refused(phi3(good, R"(, "partial_rotary_factor": 0.75)"),
                 "accepted: a list of 6 positive");
  expect_refused(phi3(good, R"(, "partial_rotary_factor": 1.5)"), "more than 0, at most 1");
  expect_refused(phi3(good, R"(, "partial_rotary_factor": 0.07)"), "rope turns 1 dimensions");
}

TEST(ConfigRefusal, Experts) {
  const std::string good = of_family("qwen3_moe", "Qwen3MoeForCausalLM",
                                     R"(, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "decoder_sparse_step": 1, "mlp_only_layers": [1])");
  EXPECT_EQ(error_of(good), "accepted");
  expect_refused(replaced(good, R"("num_experts_per_tok": 2)", R"("num_experts_per_tok": 9)"),
                 "experts a token uses is 9; accepted: 1 to 8");
  expect_refused(replaced(good, R"("decoder_sparse_step": 1)", R"("decoder_sparse_step": 0)"),
                 "decoder_sparse_step is 0");
  expect_refused(replaced(good, "[1]", "[-1]"), "mlp_only_layers is -1");
  expect_refused(replaced(good, "[1]", "1"), "mlp_only_layers is 1");
  expect_refused(replaced(good, R"("moe_intermediate_size": 32)", R"("moe_intermediate_size": 0)"),
                 "moe_intermediate_size is 0");
  const std::string many = replaced(good, R"("num_experts": 8)", R"("num_experts": 16384)");
  EXPECT_EQ(error_of(many), "accepted");
  expect_refused(replaced(many, R"("num_hidden_layers": 3)", R"("num_hidden_layers": 48)"),
                 "layers times experts is 786432");
}

TEST(ConfigRefusal, Gemma) {
  const std::string nested = R"({"model_type": "gemma3", "text_config": {"hidden_size": 64}})";
  EXPECT_EQ(error_of(nested), "accepted");
  expect_refused(R"({"model_type": "gemma3"})", "text_config is missing");
  expect_refused(R"({"model_type": "gemma3", "text_config": []})",
                 "text_config is an array of 0; accepted: an object");
  expect_refused(R"({"model_type": "gemma3", "text_config": {"hidden_size": 0}})",
                 "text_config.hidden_size is 0");
  expect_refused(R"({"model_type": "gemma3", "text_config": {"model_type": "gemma3n_text"}})",
                 "text_config.model_type \"gemma3n_text\" is not supported");
  expect_refused(R"({"model_type": "gemma2", "attn_logit_softcapping": 0})",
                 "attn_logit_softcapping is 0");
  expect_refused(R"({"model_type": "gemma2", "query_pre_attn_scalar": -1})",
                 "query_pre_attn_scalar is -1");
  expect_refused(R"({"model_type": "gemma3_text", "rope_parameters": {"rope_theta": 5.0}})",
                 "each layer type, full_attention and sliding_attention, has its own");
}

}  // namespace
}  // namespace splitd

// A golden model as llama.cpp's converter would write it, built from the rules in
// runtime/model/reference/formats.md and not from the code under test: names, order of rows, norms.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/float16.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/runtime/model/model_copy.h"

namespace splitd {

class GgufModel {
 public:
  explicit GgufModel(std::string_view golden)
      : copy(golden), config(config_of(copy.config).value()) {
    static const std::map<std::string_view, std::string_view> architectures = {
        {"qwen3_moe", "qwen3moe"}, {"gemma3_text", "gemma3"}, {"mistral", "llama"}};
    const auto found = architectures.find(config.family);
    architecture = found == architectures.end() ? config.family : std::string(found->second);
    add_metadata();
    for (const RawTensor& tensor : copy.tensors) add_tensor(tensor);
    add_rope_factors();
  }

  void f32(std::string_view key, double value) {
    file.kv(architecture + "." + std::string(key), GgufType::f32, le(static_cast<float>(value)));
  }
  void u32(std::string_view key, uint64_t value) {
    file.u32(architecture + "." + std::string(key), static_cast<uint32_t>(value));
  }

  GgufBuilder::Tensor& at(std::string_view name) {
    for (GgufBuilder::Tensor& tensor : file.tensors) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return file.tensors.front();
  }

  const std::string& write() {
    path_ = directory_.path() + "/model.gguf";
    EXPECT_TRUE(write_file(path_, file.build()).ok());
    return path_;
  }

  ModelCopy copy;
  ModelConfig config;
  std::string architecture;
  GgufBuilder file;

 private:
  void add_metadata() {
    file.string("general.architecture", architecture);
    u32("vocab_size", config.n_vocab);
    u32("block_count", config.n_layer);
    u32("context_length", config.n_ctx);
    u32("embedding_length", config.d_model);
    u32("feed_forward_length", config.d_ff);
    u32("attention.head_count", config.n_head);
    u32("attention.head_count_kv", config.n_kv_head);
    u32("attention.key_length", config.d_head);
    u32("attention.value_length", config.d_head);
    f32("attention.layer_norm_rms_epsilon", double{config.norm_eps});
    const RopeConfig& rope = config.ropes[0];
    f32("rope.freq_base", rope.theta);
    u32("rope.dimension_count", rope.n_rotary);
    if (rope.kind == RopeKind::linear) {
      file.string(architecture + ".rope.scaling.type", "linear");
      f32("rope.scaling.factor", rope.factor);
    }
    if (rope.kind == RopeKind::longrope) {
      u32("rope.scaling.original_context_length", rope.original_ctx);
      f32("rope.scaling.attn_factor", double{rope.attention_factor});
    }
    if (config.layers[0].window != 0) u32("attention.sliding_window", config.layers[0].window);
    if (config.attn_softcap > 0.0f) {
      f32("attn_logit_softcapping", double{config.attn_softcap});
      f32("final_logit_softcapping", double{config.final_softcap});
    }
    if (config.n_expert > 0) {
      u32("expert_count", config.n_expert);
      u32("expert_used_count", config.n_expert_used);
      u32("expert_feed_forward_length", config.d_ff_expert);
    }
    file.u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(config.bos));
    file.u32("tokenizer.ggml.eos_token_id", config.eos.front());
    if (config.eos.size() > 1) file.u32("tokenizer.ggml.eot_token_id", config.eos.back());
  }

  static std::string gguf_name_of(std::string_view hf, bool gemma) {
    if (hf == "model.embed_tokens.weight") return "token_embd.weight";
    if (hf == "model.norm.weight") return "output_norm.weight";
    if (hf == "lm_head.weight") return "output.weight";
    const size_t dot = hf.find('.', 13);  // behind "model.layers."
    const std::string layer(hf.substr(13, dot - 13));
    std::string rest(hf.substr(dot + 1));
    const std::pair<std::string_view, std::string_view> names[] = {
        {"input_layernorm", "attn_norm"},
        {"self_attn.q_proj", "attn_q"},
        {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},
        {"self_attn.qkv_proj", "attn_qkv"},
        {"self_attn.q_norm", "attn_q_norm"},
        {"self_attn.k_norm", "attn_k_norm"},
        {"self_attn.o_proj", "attn_output"},
        {"post_attention_layernorm", gemma ? "post_attention_norm" : "ffn_norm"},
        {"pre_feedforward_layernorm", "ffn_norm"},
        {"post_feedforward_layernorm", "post_ffw_norm"},
        {"mlp.gate_proj", "ffn_gate"},
        {"mlp.up_proj", "ffn_up"},
        {"mlp.gate_up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"},
        {"mlp.gate.", "ffn_gate_inp."},
        {"mlp.experts.gate_proj", "ffn_gate_exps"},
        {"mlp.experts.up_proj", "ffn_up_exps"},
        {"mlp.experts.down_proj", "ffn_down_exps"},
    };
    if (rest.starts_with("mlp.experts.")) rest.erase(12, rest.find('.', 12) - 11);
    for (const auto& [from, to] : names) {
      if (rest.starts_with(from)) {
        return "blk." + layer + "." + std::string(to) + rest.substr(from.size());
      }
    }
    return "unknown " + std::string(hf);
  }

  static std::string as_f32(const RawTensor& tensor, float plus) {
    std::string out;
    const size_t size = dtype_info(tensor.info.dtype).block_bytes;
    for (size_t i = 0; i < tensor.bytes.size(); i += size) {
      float value = 0.0f;
      if (size == 4) {
        std::memcpy(&value, tensor.bytes.data() + i, 4);
      } else {
        uint16_t bits = 0;
        std::memcpy(&bits, tensor.bytes.data() + i, 2);
        value = tensor.info.dtype == DType::f16 ? to_f32(f16{bits}) : to_f32(bf16{bits});
      }
      out += le(value + plus);
    }
    return out;
  }

  // reshape(heads, 2, d/2, ·).swapaxes(1, 2)
  std::string permuted(const std::string& bytes, uint64_t row_bytes) const {
    std::string out;
    const uint64_t d = config.d_head;
    for (uint64_t head = 0; head < bytes.size() / row_bytes / d; ++head) {
      for (uint64_t j = 0; j < d / 2; ++j) {
        for (uint64_t t = 0; t < 2; ++t) {
          out += bytes.substr((head * d + t * (d / 2) + j) * row_bytes, row_bytes);
        }
      }
    }
    return out;
  }

  void add_tensor(const RawTensor& source) {
    const bool gemma = config.family.starts_with("gemma");
    GgufBuilder::Tensor tensor;
    tensor.name = gguf_name_of(source.info.name, gemma);
    tensor.ne.assign(source.info.shape.rbegin(), source.info.shape.rend());
    tensor.data = source.bytes;
    tensor.type = source.info.dtype == DType::f32 ? 0 : source.info.dtype == DType::f16 ? 1 : 30;
    if (source.info.shape.size() == 1) {
      const bool norm = source.info.name.ends_with("norm.weight");
      tensor.data = as_f32(source, gemma && norm ? 1.0f : 0.0f);
      tensor.type = 0;
    }
    const bool q_or_k = tensor.name.find("attn_q.") != std::string::npos ||
                        tensor.name.find("attn_k.") != std::string::npos;
    if (q_or_k && architecture == "llama") {
      tensor.data = permuted(tensor.data, tensor.data.size() / source.info.shape[0]);
    }
    if (source.info.name.find(".experts.") != std::string::npos) {
      tensor.ne.push_back(config.n_expert);
      tensor.data.clear();
      const std::string& name = source.info.name;
      const size_t number = name.find(".experts.") + 9;
      const std::string tail = name.substr(name.find('.', number));
      if (name.substr(number, 2) != "0.") return;  // expert 0 brings all of them
      for (uint32_t expert = 0; expert < config.n_expert; ++expert) {
        tensor.data += copy.at(name.substr(0, number) + std::to_string(expert) + tail).bytes;
      }
    }
    file.tensors.push_back(std::move(tensor));
  }

  void add_rope_factors() {
    const RopeConfig& rope = config.ropes[0];
    const auto add = [&](std::string_view name, const std::vector<float>& factors) {
      std::string data;
      for (const float factor : factors) data += le(factor);
      file.tensors.push_back({std::string(name), {factors.size()}, 0, data});
    };
    if (rope.kind == RopeKind::longrope) {
      add("rope_factors_long.weight", rope.long_factors);
      add("rope_factors_short.weight", rope.short_factors);
    }
    if (rope.kind == RopeKind::llama3) add("rope_freqs.weight", llama3_divisors(rope));
  }

 public:
  // By how much llama3 rope slows each pair of dimensions: models.md's formula.
  static std::vector<float> llama3_divisors(const RopeConfig& rope) {
    std::vector<float> out;
    for (uint32_t i = 0; i < rope.n_rotary; i += 2) {
      const double f = std::pow(rope.theta, -double(i) / rope.n_rotary);
      const double w = 2.0 * M_PI / f;
      const double original = double(rope.original_ctx);
      double turned = f / rope.factor;
      if (w < original / rope.high_freq_factor) {
        turned = f;
      } else if (w <= original / rope.low_freq_factor) {
        const double t =
            (original / w - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
        turned = (1 - t) * f / rope.factor + t * f;
      }
      out.push_back(static_cast<float>(f / turned));
    }
    return out;
  }

 private:
  TempDir directory_;
  std::string path_;
};

}  // namespace splitd

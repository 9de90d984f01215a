// A model's files, small and of random bytes, with the tensors of a real one: sharded or not.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/model/formats/safetensors_writer.h"

namespace splitd {

struct SmallModel {
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> tensors;  // name → bytes
  std::map<std::string, std::string> shard_of;
  uint64_t header_bytes = 0;  // of all shards
};

inline SmallModel small_model(uint32_t n_layer, uint32_t n_shard, bool tied = false,
                              const std::string& prefix = "model.",
                              const std::string& head = "lm_head.weight") {
  constexpr uint64_t d = 64;
  std::vector<std::pair<std::string, Shape>> all = {{prefix + "embed_tokens.weight", {300, d}}};
  for (uint32_t i = 0; i < n_layer; ++i) {
    const std::string layer = prefix + "layers." + std::to_string(i) + ".";
    all.push_back({layer + "input_layernorm.weight", {d}});
    all.push_back({layer + "self_attn.q_proj.weight", {d, d}});
    all.push_back({layer + "self_attn.q_proj.bias", {d}});
    all.push_back({layer + "self_attn.q_norm.weight", {d / 4}});
    all.push_back({layer + "mlp.down_proj.weight", {d, 3 * d}});
    all.push_back({layer + "post_attention_layernorm.weight", {d}});
  }
  all.push_back({prefix + "norm.weight", {d}});
  if (!tied) all.push_back({head, {300, d}});
  all.push_back({"vision_tower.encoder.layers.0.layer_norm1.weight", {d}});
  all.push_back({"vision_tower.encoder.layers.0.mlp.fc1.weight", {d, d}});

  SmallModel out;
  std::mt19937 random(n_layer * 31 + n_shard);
  const size_t per_shard = (all.size() + n_shard - 1) / n_shard;
  JsonWriter index;
  index.begin_object().key("weight_map").begin_object();
  for (uint32_t s = 0; s < n_shard; ++s) {
    const std::string file = n_shard == 1 ? "model.safetensors"
                                          : "model-" + std::to_string(s + 1) + "-of-" +
                                                std::to_string(n_shard) + ".safetensors";
    std::vector<TensorInfo> infos;
    std::string data;
    for (size_t i = s * per_shard; i < std::min(all.size(), (s + 1) * per_shard); ++i) {
      TensorInfo info;
      info.name = all[i].first;
      info.dtype = DType::bf16;
      info.shape = all[i].second;
      uint64_t count = 2;
      for (const uint64_t extent : info.shape) count *= extent;
      std::string bytes(count, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      out.tensors[info.name] = bytes;
      out.shard_of[info.name] = file;
      index.field(info.name, file);
      data += bytes;
      infos.push_back(std::move(info));
    }
    const std::string header = *make_safetensors_header(infos, {{"format", "pt"}});
    out.header_bytes += header.size();
    out.files[file] = header + data;
  }
  if (n_shard > 1) {
    out.files["model.safetensors.index.json"] = index.end_object().end_object().take();
  }
  out.files["config.json"] =
      std::string("{\"model_type\": \"llama\"") + (tied ? ", \"tie_word_embeddings\": true}" : "}");
  out.files["generation_config.json"] = "{}";
  out.files["tokenizer.json"] = "{\"version\": \"1.0\"}";
  out.files["tokenizer_config.json"] = "{}";
  out.files["chat_template.jinja"] = "{{ messages }}";
  out.files["README.md"] = "read me";
  out.files["pytorch_model.bin"] = "not this";
  out.files["consolidated.safetensors"] = "nor this";
  out.files["original/params.json"] = "{}";
  return out;
}

}  // namespace splitd

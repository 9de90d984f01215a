// A GGUF of random weights whose rows are long enough for every block type, written with any type
// of weights, and its twin: the same numbers as F32, by the dequantisation that dequantize_test
// compares with the gguf package.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/float16.h"
#include "runtime/model/formats/dequantize.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"

namespace splitd {

struct GgufBlocks {
  DType dtype;
  uint32_t number;               // ggml's
  std::vector<size_t> scale_at;  // bytes of the f16 fields of a block
};

inline const std::vector<GgufBlocks>& all_gguf_blocks() {
  static const std::vector<GgufBlocks> all = {
      {DType::f32, 0, {}},       {DType::f16, 1, {}},      {DType::bf16, 30, {}},
      {DType::q4_0, 2, {0}},     {DType::q4_1, 3, {0, 2}}, {DType::q5_0, 6, {0}},
      {DType::q5_1, 7, {0, 2}},  {DType::q8_0, 8, {0}},    {DType::q4_k, 12, {0, 2}},
      {DType::q5_k, 13, {0, 2}}, {DType::q6_k, 14, {208}},
  };
  return all;
}

class RandomGguf {
 public:
  static constexpr uint64_t kModel = 256, kLayers = 2, kHeads = 4, kKvHeads = 2, kHead = 64;
  static constexpr uint64_t kFf = 512, kVocab = 96, kExperts = 4, kExpertFf = 256;

  // llama (its q and k pair by pair) or qwen3moe (stacked experts). Quantised types take turns
  // through `blocks`, tensor by tensor.
  RandomGguf(std::string_view architecture, std::vector<GgufBlocks> blocks)
      : architecture_(architecture), blocks_(std::move(blocks)) {
    metadata();
    matrix("token_embd.weight", {kModel, kVocab});
    for (uint64_t i = 0; i < kLayers; ++i) layer("blk." + std::to_string(i) + ".");
    vector("output_norm.weight", kModel);
  }

  GgufBuilder file;  // as stored
  GgufBuilder twin;  // as F32

  const std::string& write() { return write(file, path_, "/file.gguf"); }
  const std::string& write_twin() { return write(twin, twin_path_, "/twin.gguf"); }

 private:
  bool moe() const { return architecture_ == "qwen3moe"; }

  void metadata() {
    file.string("general.architecture", architecture_);
    const auto u32 = [&](std::string_view key, uint64_t value) {
      file.u32(architecture_ + "." + std::string(key), static_cast<uint32_t>(value));
    };
    const auto f32 = [&](std::string_view key, float value) {
      file.kv(architecture_ + "." + std::string(key), GgufType::f32, le(value));
    };
    u32("block_count", kLayers);
    u32("context_length", 128);
    u32("embedding_length", kModel);
    u32("feed_forward_length", kFf);
    u32("attention.head_count", kHeads);
    u32("attention.head_count_kv", kKvHeads);
    u32("attention.key_length", kHead);
    u32("attention.value_length", kHead);
    f32("attention.layer_norm_rms_epsilon", 1e-6f);
    f32("rope.freq_base", 10000.0f);
    if (!moe()) return;
    u32("expert_count", kExperts);
    u32("expert_used_count", 2);
    u32("expert_feed_forward_length", kExpertFf);
  }

  void layer(const std::string& prefix) {
    vector(prefix + "attn_norm.weight", kModel);
    matrix(prefix + "attn_q.weight", {kModel, kHeads * kHead});
    matrix(prefix + "attn_k.weight", {kModel, kKvHeads * kHead});
    matrix(prefix + "attn_v.weight", {kModel, kKvHeads * kHead});
    matrix(prefix + "attn_output.weight", {kHeads * kHead, kModel});
    vector(prefix + "ffn_norm.weight", kModel);
    if (moe()) {
      vector(prefix + "attn_q_norm.weight", kHead);
      vector(prefix + "attn_k_norm.weight", kHead);
      add(prefix + "ffn_gate_inp.weight", {kModel, kExperts}, all_gguf_blocks().front());
      matrix(prefix + "ffn_gate_exps.weight", {kModel, kExpertFf, kExperts});
      matrix(prefix + "ffn_up_exps.weight", {kModel, kExpertFf, kExperts});
      matrix(prefix + "ffn_down_exps.weight", {kExpertFf, kModel, kExperts});
    } else {
      matrix(prefix + "ffn_gate.weight", {kModel, kFf});
      matrix(prefix + "ffn_up.weight", {kModel, kFf});
      matrix(prefix + "ffn_down.weight", {kFf, kModel});
    }
  }

  void vector(const std::string& name, uint64_t n) { add(name, {n}, all_gguf_blocks().front()); }
  void matrix(const std::string& name, const std::vector<uint64_t>& ne) {
    add(name, ne, blocks_[turn_++ % blocks_.size()]);
  }

  uint16_t half(float value) const { return to_f16(value).bits; }

  void add(const std::string& name, const std::vector<uint64_t>& ne, const GgufBlocks& blocks) {
    uint64_t count = 1;
    for (const uint64_t n : ne) count *= n;
    const DTypeInfo& info = dtype_info(blocks.dtype);
    std::string data;
    std::uniform_real_distribution<float> number(-0.08f, 0.08f);
    for (uint64_t i = 0; i < count / info.block_values; ++i) {
      if (blocks.dtype == DType::f32) {
        data += le(ne.size() == 1 ? 1.0f + number(random_) : number(random_));
      } else if (blocks.dtype == DType::f16) {
        data += le(half(number(random_)));
      } else if (blocks.dtype == DType::bf16) {
        data += le(to_bf16(number(random_)).bits);
      } else {
        // Random bits, scales such that the numbers stay small, some of them negative.
        std::string block;
        while (block.size() < info.block_bytes) block += le(random_());
        block.resize(info.block_bytes);
        const float most = info.block_values == 256 ? 1e-4f : blocks.number == 8 ? 6e-4f : 5e-3f;
        for (const size_t at : blocks.scale_at) {
          const float scale = most * number(random_) / 0.08f;
          block.replace(at, 2, le(half(scale)));
        }
        data += block;
      }
    }
    std::vector<float> values(count);
    dequantize(blocks.dtype, as_bytes(data).data(), count, values.data());
    std::string wide(reinterpret_cast<const char*>(values.data()), 4 * count);
    file.tensors.push_back({name, ne, blocks.number, std::move(data)});
    twin.tensors.push_back({name, ne, 0, std::move(wide)});
  }

  const std::string& write(GgufBuilder& builder, std::string& path, const char* name) {
    builder.kvs = file.kvs;
    builder.n_kv = file.n_kv;
    path = directory_.path() + name;
    EXPECT_TRUE(write_file(path, builder.build()).ok());
    return path;
  }

  std::string architecture_;
  std::vector<GgufBlocks> blocks_;
  size_t turn_ = 0;
  std::mt19937 random_{7};
  TempDir directory_;
  std::string path_, twin_path_;
};

}  // namespace splitd

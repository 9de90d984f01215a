// Owns: a model of any shape with random weights, made in no time: all its matrices are views, each
// from another offset, into one block of memory that is as large as the largest. For measuring, and
// for tests that need a small model of their own. Layers of experts and of a window by shape.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace splitd {

struct SyntheticShape {
  const char* name = "";
  uint32_t d_model = 0, n_head = 0, n_kv_head = 0, d_head = 0, d_ff = 0;
  uint32_t n_layer = 0, n_vocab = 256;
  uint32_t n_expert = 0, n_expert_used = 0, d_ff_expert = 0;  // of every second layer, if any
  uint64_t window = 0;                                        // of every third layer
};

// The shapes of Llama 3.2 1B, Llama 3.1 8B and 70B.
inline constexpr SyntheticShape kShape1B{"1B", 2048, 32, 8, 64, 8192, 16};
inline constexpr SyntheticShape kShape8B{"8B", 4096, 32, 8, 128, 14336, 32};
inline constexpr SyntheticShape kShape70B{"70B", 8192, 64, 8, 128, 28672, 80};

class SyntheticModel {
 public:
  // f32, bf16, f16, q8_0 or q4_0; `head`: the embedding's table is the head too.
  SyntheticModel(const SyntheticShape& shape, DType dtype, bool head, uint32_t seed = 1)
      : dtype_(dtype), random_(seed) {
    configure(shape);
    const uint64_t d = shape.d_model;
    fill(d * std::max({uint64_t{shape.d_ff}, uint64_t{shape.d_ff_expert}, uint64_t{shape.n_vocab},
                       uint64_t{shape.n_head} * shape.d_head}));
    norm_.resize(d);
    for (float& value : norm_) value = 0.5f + unit();
    weights_.range = {0, shape.n_layer};
    weights_.norm = norm(d);
    weights_.embed = matrix(shape.n_vocab, d);
    if (head) weights_.head = weights_.embed;
    for (uint32_t i = 0; i < shape.n_layer; ++i) add_layer(config_.layers[i]);
  }

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  // Of the matrices of one layer, as they lie in a file.
  uint64_t layer_bytes(uint32_t layer) const {
    const LayerWeights& at = weights_.layers[layer];
    uint64_t out = 0;
    for (const TensorView* view :
         {&at.q, &at.k, &at.v, &at.o, &at.gate, &at.up, &at.down, &at.router}) {
      out += view->bytes;
    }
    for (const ExpertWeights& expert : at.experts) {
      out += expert.gate.bytes + expert.up.bytes + expert.down.bytes;
    }
    return out;
  }

 private:
  float unit() { return std::uniform_real_distribution<float>(0, 1)(random_); }

  void configure(const SyntheticShape& shape) {
    config_.family = "llama";
    config_.d_model = shape.d_model;
    config_.n_layer = shape.n_layer;
    config_.n_head = shape.n_head;
    config_.n_kv_head = shape.n_kv_head;
    config_.d_head = shape.d_head;
    config_.d_ff = shape.d_ff;
    config_.n_vocab = shape.n_vocab;
    config_.n_ctx = 131072;
    config_.attn_scale = 1.0f / std::sqrt(static_cast<float>(shape.d_head));
    config_.n_expert = shape.n_expert;
    config_.n_expert_used = shape.n_expert_used;
    config_.d_ff_expert = shape.d_ff_expert;
    config_.norm_topk = true;
    RopeConfig& rope = config_.ropes.emplace_back();
    rope.theta = 500000.0;
    rope.n_rotary = shape.d_head;
    for (uint32_t i = 0; i < shape.n_layer; ++i) {
      config_.layers.push_back(
          {.window = i % 3 == 2 ? shape.window : 0, .moe = shape.n_expert != 0 && i % 2 == 1});
    }
  }

  // Random blocks, and copies of them as far as the largest matrix at the largest offset reaches.
  void fill(uint64_t n_value) {
    const DTypeInfo& info = dtype_info(dtype_);
    const size_t bytes = (n_value / info.block_values + kOffsets) * info.block_bytes;
    const size_t period = std::min<size_t>(bytes, size_t{65521} * info.block_bytes);
    block_.resize(bytes);
    for (size_t at = 0; at < period; at += info.block_bytes) put_block(block_.data() + at);
    for (size_t at = period; at < bytes; at += period) {
      std::memcpy(block_.data() + at, block_.data(), std::min(period, bytes - at));
    }
  }

  void put_block(std::byte* to) {
    const float scale = 1.7f / std::sqrt(static_cast<float>(config_.d_model));
    if (dtype_ == DType::q8_0 || dtype_ == DType::q4_0) {
      const bool is_q8 = dtype_ == DType::q8_0;
      const f16 of_group = to_f16(scale / (is_q8 ? 127.0f : 8.0f));
      std::memcpy(to, &of_group.bits, 2);
      for (int i = 0; i < (is_q8 ? 32 : 16); ++i) {
        const auto byte = static_cast<int8_t>(random_() % 255 - 127);
        std::memcpy(to + 2 + i, &byte, 1);
      }
      return;
    }
    const float value = scale * (2 * unit() - 1);
    const bf16 as_bf16 = to_bf16(value);
    const f16 as_f16 = to_f16(value);
    if (dtype_ == DType::f32) std::memcpy(to, &value, 4);
    if (dtype_ == DType::bf16) std::memcpy(to, &as_bf16.bits, 2);
    if (dtype_ == DType::f16) std::memcpy(to, &as_f16.bits, 2);
  }

  TensorView matrix(uint64_t n, uint64_t k) {
    const DTypeInfo& info = dtype_info(dtype_);
    shapes_.push_back({n, k});
    const size_t offset = random_() % kOffsets * info.block_bytes;
    return {block_.data() + offset, dtype_, shapes_.back(),
            n * k / info.block_values * info.block_bytes};
  }
  TensorView norm(uint64_t n) {
    shapes_.push_back({n, 1});
    return {reinterpret_cast<const std::byte*>(norm_.data()), DType::f32,
            std::span(shapes_.back()).first(1), n * sizeof(float)};
  }

  void add_layer(const LayerConfig& layer) {
    const uint64_t d = config_.d_model, d_q = uint64_t{config_.n_head} * config_.d_head;
    const uint64_t d_kv = uint64_t{config_.n_kv_head} * config_.d_head;
    LayerWeights& to = weights_.layers.emplace_back();
    to.attn_norm = norm(d);
    to.mlp_norm = norm(d);
    to.q = matrix(d_q, d);
    to.k = matrix(d_kv, d);
    to.v = matrix(d_kv, d);
    to.o = matrix(d, d_q);
    if (!layer.moe) {
      to.gate = matrix(config_.d_ff, d);
      to.up = matrix(config_.d_ff, d);
      to.down = matrix(d, config_.d_ff);
      return;
    }
    to.router = matrix(config_.n_expert, d);
    for (uint32_t i = 0; i < config_.n_expert; ++i) {
      const uint64_t f = config_.d_ff_expert;
      to.experts.push_back({matrix(f, d), matrix(f, d), matrix(d, f)});
    }
  }

  static constexpr uint32_t kOffsets = 4096;

  DType dtype_;
  std::mt19937 random_;
  ModelConfig config_;
  ModelWeights weights_;
  std::vector<std::byte> block_;
  std::vector<float> norm_;
  std::deque<std::array<uint64_t, 2>> shapes_;
};

}  // namespace splitd

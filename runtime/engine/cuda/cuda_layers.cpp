// One layer function, driven by the plain config, as kernels in one stream.
#include "runtime/engine/cuda/cuda_layers.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/flash_attention.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/rows.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

constexpr size_t kMostPartialBytes = size_t{128} << 20;

gpu::Gate gate_kind(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return gpu::Gate::silu;
    case Activation::gelu_tanh:
      return gpu::Gate::gelu_tanh;
    case Activation::gelu_erf:
      return gpu::Gate::gelu_erf;
  }
  return gpu::Gate::silu;
}

gpu::ActivationType mlp_form(const CudaLayer& layer) {
  return layer.router.n_matrix == 0 ? layer.gate_up.form : layer.expert_gate_up.form;
}

uint32_t narrow(uint64_t window) {
  return static_cast<uint32_t>(std::min<uint64_t>(window, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

CudaLayers::CudaLayers(const ModelConfig& config, const CudaWeights& weights, uint32_t max_rows)
    : config_(&config), weights_(&weights), max_rows_(max_rows) {
  for (const RopeConfig& rope : config.ropes) n_rotary_ += rope.n_rotary;
}

Result<CudaLayers> CudaLayers::make(const ModelConfig& config, const CudaWeights& weights,
                                    uint32_t max_rows) {
  CudaLayers out(config, weights, max_rows);
  SPLITD_TRY(out.reserve());
  return out;
}

// Everything that a batch of max_rows needs.
Status CudaLayers::reserve() {
  const size_t m = max_rows_, d = config_->d_model, wide = sizeof(float);
  const size_t d_attn = size_t{config_->n_head} * config_->d_head;
  const size_t n_used = config_->n_expert == 0 ? 0 : config_->n_expert_used;
  const size_t n_place = m * std::max<size_t>(1, n_used);
  const size_t d_ff = std::max<size_t>(config_->d_ff, config_->d_ff_expert);
  const auto take = [](DeviceBuffer& buffer, size_t bytes) -> Status {
    SPLITD_ASSIGN(buffer, DeviceBuffer::make(bytes, "the room for a batch"));
    return {};
  };
  SPLITD_TRY(take(act_, wide * m * gpu::pad_k(static_cast<uint32_t>(std::max(d, d_attn)))));
  SPLITD_TRY(take(qkv_, wide * m * d_qkv()));
  SPLITD_TRY(take(delta_, wide * m * d));
  SPLITD_TRY(take(gate_up_, wide * n_place * 2 * d_ff));
  SPLITD_TRY(take(wide_act_, wide * n_place * gpu::pad_k(static_cast<uint32_t>(d_ff))));
  if (n_used == 0) return {};
  SPLITD_TRY(take(scores_, wide * m * config_->n_expert));
  SPLITD_TRY(take(expert_ids_, wide * n_place));
  SPLITD_TRY(take(expert_weights_, wide * n_place));
  SPLITD_TRY(take(expert_lists_, wide * m * config_->n_expert));
  SPLITD_TRY(take(expert_counts_, wide * config_->n_expert));
  return take(expert_out_, wide * n_place * d);
}

Status CudaLayers::reserve_attention(uint32_t n_ctx) {
  const uint32_t n_split = gpu::attention_splits(std::max(1u, n_ctx) - 1, 0);
  const size_t one = gpu::attention_partial_bytes(config_->n_head, config_->d_head, n_split);
  const size_t bytes = std::max(one, std::min(kMostPartialBytes, one * max_rows_));
  if (bytes > partials_.bytes()) {
    // What is there stays until there is more: where there is none, other sessions go on.
    SPLITD_ASSIGN(DeviceBuffer partials,
                  DeviceBuffer::make(bytes, "attention over " + std::to_string(n_ctx) + " rows"));
    partials_ = std::move(partials);
  }
  most_splits_ = std::max(most_splits_, n_split);
  return {};
}

// Matrices of one type side by side in one launch.
void CudaLayers::multiply(Launches& to, const CudaProducts& products, uint32_t m, const void* a,
                          float* c, size_t c_stride) {
  if (to.bulk != nullptr) return to.check(to.bulk->multiply(products, a, c, c_stride));
  uint32_t i = 0;
  while (i < products.n_matrix) {
    gpu::MatmulJob job;
    job.a = a;
    job.a_type = products.form;
    job.m = m;
    job.c = c;
    job.c_stride = c_stride;
    const gpu::WeightType type = products.w[i].type;
    for (; i < products.n_matrix && products.w[i].type == type; ++i) {
      job.w[job.n_matrix++] = products.w[i];
      c += products.w[i].n;
    }
    to.check(gpu::matmul(job, to.stream));
  }
}

// Normed rows in act_ → what attention adds, in delta_.
void CudaLayers::attend(Launches& to, const CudaStep& step, const CudaLayer& layer,
                        uint32_t index) {
  const LayerConfig& layer_config = config_->layers[index];
  multiply(to, layer.qkv, step.m, act_.data(), qkv_.as<float>(), d_qkv());
  size_t rope_begin = 0;
  for (size_t i = 0; i < layer_config.rope; ++i) rope_begin += config_->ropes[i].n_rotary;
  to.check(gpu::finish_qkv({.qkv = qkv_.as<float>(),
                            .bias = layer.qkv_bias,
                            .q_norm = layer.q_norm,
                            .k_norm = layer.k_norm,
                            .cos_sin = step.cos_sin + rope_begin,
                            .cos_sin_stride = n_rotary_,
                            .rows = step.rows,
                            .layer = index - weights_->range().begin,
                            .m = step.m,
                            .n_head = config_->n_head,
                            .n_kv_head = config_->n_kv_head,
                            .d_head = config_->d_head,
                            .n_rotary = config_->ropes[layer_config.rope].n_rotary,
                            .eps = config_->norm_eps,
                            .interleaved = weights_->qk_interleaved()},
                           to.stream));
  if (to.bulk != nullptr && config_->d_head <= gpu::kMostFlashDim) {
    attend_bulk(to, step, layer, index);
  } else {
    for (const CudaSegment& segment : step.segments) attend_rows(to, step, segment, layer, index);
  }
  multiply(to, layer.o, step.m, act_.data(), delta_.as<float>(), config_->d_model);
}

// As many rows at a time as the room for their splits allows.
void CudaLayers::attend_rows(Launches& to, const CudaStep& step, const CudaSegment& rows,
                             const CudaLayer& layer, uint32_t index) {
  const uint32_t window = narrow(config_->layers[index].window);
  const uint32_t n_split = std::min(rows.n_split, gpu::most_attention_splits(window));
  const size_t one = gpu::attention_partial_bytes(config_->n_head, config_->d_head, n_split);
  const auto at_once = static_cast<uint32_t>(std::max<size_t>(1, partials_.bytes() / one));
  const size_t out_row = gpu::pad_k(config_->n_head * config_->d_head) *
                         size_t{layer.o.form == gpu::ActivationType::bf16 ? 2u : 4u};
  for (uint32_t begin = rows.begin; begin < rows.end; begin += at_once) {
    to.check(gpu::attention({.q = qkv_.as<float>() + size_t{begin} * d_qkv(),
                             .q_stride = d_qkv(),
                             .rows = step.rows + begin,
                             .paths = step.paths,
                             .layer = index - weights_->range().begin,
                             .m = std::min(at_once, rows.end - begin),
                             .n_head = config_->n_head,
                             .n_kv_head = config_->n_kv_head,
                             .d_head = config_->d_head,
                             .window = window,
                             .n_split = n_split,
                             .scale = config_->attn_scale,
                             .softcap = config_->attn_softcap,
                             .kv_type = rows.kv_type,
                             .partials = partials_.data(),
                             .out = {act_.as<std::byte>() + begin * out_row, layer.o.form}},
                            to.stream));
  }
}

void CudaLayers::attend_bulk(Launches& to, const CudaStep& step, const CudaLayer& layer,
                             uint32_t index) {
  to.check(gpu::flash_attention({.q = qkv_.as<float>(),
                                 .q_stride = d_qkv(),
                                 .rows = step.rows,
                                 .layer = index - weights_->range().begin,
                                 .m = step.m,
                                 .n_head = config_->n_head,
                                 .n_kv_head = config_->n_kv_head,
                                 .d_head = config_->d_head,
                                 .window = narrow(config_->layers[index].window),
                                 .scale = config_->attn_scale,
                                 .softcap = config_->attn_softcap,
                                 .kv_type = step.segments[0].kv_type,
                                 .out = {act_.data(), layer.o.form}},
                                to.stream));
}

void CudaLayers::feed_forward(Launches& to, const CudaStep& step, const CudaLayer& layer) {
  if (layer.router.n_matrix != 0) return experts(to, step, layer);
  multiply(to, layer.gate_up, step.m, act_.data(), gate_up_.as<float>(), 2 * size_t{config_->d_ff});
  to.check(gpu::gate({.gate_up = gate_up_.as<float>(),
                      .bias = layer.gate_up_bias,
                      .out = {wide_act_.data(), layer.down.form},
                      .m = step.m,
                      .n = config_->d_ff,
                      .kind = gate_kind(config_->activation)},
                     to.stream));
  multiply(to, layer.down, step.m, wide_act_.data(), delta_.as<float>(), config_->d_model);
}

void CudaLayers::experts(Launches& to, const CudaStep& step, const CudaLayer& layer) {
  const uint32_t n_used = config_->n_expert_used, n_place = step.m * n_used;
  multiply(to, layer.router, step.m, act_.data(), scores_.as<float>(), config_->n_expert);
  to.check(gpu::route({.scores = scores_.as<float>(),
                       .m = step.m,
                       .n_expert = config_->n_expert,
                       .n_used = n_used,
                       .normalise = config_->norm_topk,
                       .rows = step.rows,
                       .ids = expert_ids_.as<uint32_t>(),
                       .weights = expert_weights_.as<float>(),
                       .lists = expert_lists_.as<uint32_t>(),
                       .counts = expert_counts_.as<uint32_t>()},
                      to.stream));
  gpu::ExpertJob job{.w = layer.expert_gate_up.w,
                     .n_matrix = layer.expert_gate_up.n_matrix,
                     .n = layer.expert_gate_up.n,
                     .type = layer.expert_gate_up.type,
                     .lists = expert_lists_.as<uint32_t>(),
                     .counts = expert_counts_.as<uint32_t>(),
                     .n_expert = config_->n_expert,
                     .m_most = step.m,
                     .m_likely = 2 * ((n_place + config_->n_expert - 1) / config_->n_expert),
                     .a_divisor = n_used,
                     .a = act_.data(),
                     .a_type = layer.expert_gate_up.form,
                     .c = gate_up_.as<float>(),
                     .c_stride = 2 * size_t{config_->d_ff_expert}};
  to.check(gpu::matmul_experts(job, to.stream));
  to.check(gpu::gate({.gate_up = gate_up_.as<float>(),
                      .out = {wide_act_.data(), layer.expert_down.form},
                      .m = n_place,
                      .n = config_->d_ff_expert,
                      .kind = gate_kind(config_->activation),
                      .rows = step.rows,
                      .n_used = n_used},
                     to.stream));
  job.w = layer.expert_down.w;
  job.n_matrix = layer.expert_down.n_matrix;
  job.n = layer.expert_down.n;
  job.type = layer.expert_down.type;
  job.a_divisor = 1;
  job.a = wide_act_.data();
  job.a_type = layer.expert_down.form;
  job.c = expert_out_.as<float>();
  job.c_stride = config_->d_model;
  to.check(gpu::matmul_experts(job, to.stream));
  to.check(gpu::combine({.parts = expert_out_.as<float>(),
                         .weights = expert_weights_.as<float>(),
                         .out = delta_.as<float>(),
                         .rows = step.rows,
                         .m = step.m,
                         .n_used = n_used,
                         .d = config_->d_model},
                        to.stream));
}

cudaError_t CudaLayers::run(const CudaStep& step, LayerRange run, LayerRange whole,
                            cudaStream_t stream) {
  Launches to{stream, step.bulk ? bulk_ : nullptr};
  const auto add_norm = [&](const float* delta, const float* bias, const float* post_norm,
                            const float* norm, gpu::ActivationType form) {
    to.check(gpu::add_norm({.x = step.x,
                            .delta = delta,
                            .bias = bias,
                            .post_norm = post_norm,
                            .norm = norm,
                            .out = {act_.data(), form},
                            .m = step.m,
                            .d = config_->d_model,
                            .eps = config_->norm_eps},
                           stream));
  };
  for (uint32_t index = run.begin; index < run.end && to.error == cudaSuccess; ++index) {
    const CudaLayer& layer = weights_->layer(index);
    if (index == whole.begin) {
      add_norm(nullptr, nullptr, nullptr, layer.attn_norm, layer.qkv.form);
    }
    attend(to, step, layer, index);
    add_norm(delta_.as<float>(), layer.o_bias, layer.attn_post_norm, layer.mlp_norm,
             mlp_form(layer));
    feed_forward(to, step, layer);
    const bool is_last = index + 1 == whole.end;
    const CudaLayer* next = is_last ? nullptr : &weights_->layer(index + 1);
    add_norm(delta_.as<float>(), layer.down_bias, layer.mlp_post_norm,
             is_last ? nullptr : next->attn_norm,
             is_last ? gpu::ActivationType::f32 : next->qkv.form);
  }
  return to.error;
}

cudaError_t CudaLayers::norm(float* x, uint32_t m, cudaStream_t stream) {
  return gpu::add_norm({.x = x,
                        .norm = weights_->norm(),
                        .out = {act_.data(), gpu::ActivationType::f32},
                        .m = m,
                        .d = config_->d_model,
                        .eps = config_->norm_eps},
                       stream);
}

cudaError_t CudaLayers::project(const float* normed, uint32_t m, float* logits,
                                cudaStream_t stream) {
  Launches to{stream};
  to.check(
      gpu::convert_rows(normed, m, config_->d_model, {act_.data(), weights_->head().form}, stream));
  multiply(to, weights_->head(), m, act_.data(), logits, config_->n_vocab);
  if (config_->final_softcap != 0) {
    to.check(gpu::softcap(logits, size_t{m} * config_->n_vocab, config_->final_softcap, stream));
  }
  return to.error;
}

}  // namespace splitd

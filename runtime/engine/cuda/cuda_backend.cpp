// One layer function, driven by the plain config, as kernels in one stream.
#include "runtime/engine/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/rows.h"
#include "kernels/quantised.h"
#include "runtime/engine/cuda/cuda_kv.h"
#include "runtime/engine/cuda/cuda_weights.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/engine/rope_frequencies.h"
#include "runtime/engine/weight_type.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

constexpr int kKernelRevision = 1;  // counts up when a kernel's results change
constexpr uint32_t kMaxRows = 256;
constexpr size_t kMostPartialBytes = size_t{128} << 20;
constexpr size_t kInboxBytes = size_t{2} << 20;  // beside the paths of pending rows
constexpr uint32_t kProjectRows = 64;            // whose logits are on the device together

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

class CudaBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> make(const ModelConfig& config,
                                               const ModelWeights& weights,
                                               const CudaOptions& options);
  ~CudaBackend() override;

  const ModelConfig& config() const override { return config_; }
  LayerRange layers() const override { return weights_.range(); }
  std::string arith() const override {
    return "cuda/" + architecture_ + "/" + std::to_string(kKernelRevision) +
           (exact_ ? "/f32" : "/auto");
  }
  uint64_t kv_bytes(const KvShape& shape) const override {
    return CudaKv::bytes_for(config_, layers(), shape);
  }
  Result<std::unique_ptr<Kv>> make_kv(const KvShape& shape) override;
  void move_rows(Kv& kv, std::span<const SlotMove> moves) override;
  bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override;
  void embed(std::span<const uint32_t> ids, float* hidden) override;
  void norm(std::span<const float> hidden, float* normed) override;
  void project(std::span<const float> normed, float* logits) override;
  uint32_t max_rows() const override { return kMaxRows; }
  Status fault() const override { return cuda_status(fault_, "go on"); }

 private:
  CudaBackend(const ModelConfig& config, const CudaOptions& options)
      : config_(config), table_(*options.table), exact_(options.exact), device_(options.device) {}

  uint32_t d_qkv() const { return (config_.n_head + 2 * config_.n_kv_head) * config_.d_head; }
  // Which device a thread speaks to is the thread's own.
  void use() { check(cudaSetDevice(device_)); }
  Status reserve();
  void check(cudaError_t error) {
    if (fault_ == cudaSuccess) fault_ = error;
  }
  void wait();
  void take_floats(float* to, size_t n) const;
  void describe(std::span<const BatchRow> rows);
  void run(const CudaProducts& products, const void* a, float* c, size_t c_stride);
  void attend(const CudaLayer& layer, uint32_t index);
  void attend_rows(const CudaLayer& layer, uint32_t index, uint32_t begin, uint32_t end);
  void feed_forward(const CudaLayer& layer);
  void experts(const CudaLayer& layer);
  void add_norm(const float* delta, const float* bias, const float* post_norm, const float* norm,
                gpu::ActivationType form);
  gpu::ActivationType mlp_form(const CudaLayer& layer) const {
    return layer.router.n_matrix == 0 ? layer.gate_up.form : layer.expert_gate_up.form;
  }

  const ModelConfig config_;
  const kernels::KernelTable& table_;
  const bool exact_;
  const int device_;
  std::string architecture_;
  cudaStream_t stream_ = nullptr;
  cudaError_t fault_ = cudaSuccess;
  CudaWeights weights_;
  TensorView embed_;
  kernels::WeightType embed_type_ = kernels::WeightType::f32;
  std::vector<RopeFrequencies> frequencies_;  // by config rope
  size_t n_rotary_ = 0;                       // of all ropes

  // Room for kMaxRows rows.
  PinnedBuffer host_rows_;  // hidden states on their way
  DeviceBuffer x_, act_, qkv_, delta_, gate_up_, wide_act_, partials_, logits_;
  DeviceBuffer scores_, expert_ids_, expert_weights_, expert_lists_, expert_counts_, expert_out_;
  DeviceInbox inbox_;
  size_t inbox_bytes_ = 0;  // that batches without pending rows need

  // The batch at hand.
  uint32_t m_ = 0;
  std::vector<uint32_t> positions_;
  std::vector<gpu::KvType> kv_types_;  // by row
  const gpu::BatchRow* rows_ = nullptr;
  const uint32_t* paths_ = nullptr;
  const float* cos_sin_ = nullptr;
  std::vector<gpu::BatchRow> row_list_;
  std::vector<uint32_t> path_list_;
  std::vector<float> cos_sin_list_;
  std::vector<uint32_t> move_list_;
};

Result<std::unique_ptr<Backend>> CudaBackend::make(const ModelConfig& config,
                                                   const ModelWeights& weights,
                                                   const CudaOptions& options) {
  if (config.n_expert_used > gpu::kMostExpertsUsed) {
    return model_error("a row of this model uses " + std::to_string(config.n_expert_used) +
                       " experts; on a GPU at most " + std::to_string(gpu::kMostExpertsUsed) +
                       " can be");
  }
  SPLITD_TRY(cuda_status(cudaSetDevice(options.device), "be used"));
  auto backend = std::unique_ptr<CudaBackend>(new CudaBackend(config, options));
  int major = 0, minor = 0;
  backend->check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, options.device));
  backend->check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, options.device));
  SPLITD_TRY(cuda_status(backend->fault_, "say what it is"));
  backend->architecture_ = "sm_" + std::to_string(major * 10 + minor);
  SPLITD_TRY(cuda_status(cudaStreamCreateWithFlags(&backend->stream_, cudaStreamNonBlocking),
                         "make a stream"));
  SPLITD_ASSIGN(backend->weights_, CudaWeights::upload(config, weights, options.exact,
                                                       backend->stream_, options.progress));
  backend->embed_ = weights.embed;
  if (weights.embed.data != nullptr) {
    SPLITD_ASSIGN(backend->embed_type_, weight_type(weights.embed.dtype));
  }
  for (const RopeConfig& rope : config.ropes) {
    backend->frequencies_.push_back(rope_frequencies_of(rope));
    backend->n_rotary_ += rope.n_rotary;
  }
  SPLITD_TRY(backend->reserve());
  // A device that this build has no code for says so at the first kernel.
  backend->check(gpu::softcap(backend->x_.as<float>(), 1, 1.0f, backend->stream_));
  backend->check(cudaStreamSynchronize(backend->stream_));
  SPLITD_TRY(cuda_status(backend->fault_, "run this build's kernels"));
  return std::unique_ptr<Backend>(std::move(backend));
}

CudaBackend::~CudaBackend() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

// Everything that a batch of kMaxRows needs.
Status CudaBackend::reserve() {
  const size_t m = kMaxRows, d = config_.d_model, wide = sizeof(float);
  const size_t d_attn = size_t{config_.n_head} * config_.d_head;
  const size_t n_used = config_.n_expert == 0 ? 0 : config_.n_expert_used;
  const size_t n_place = m * std::max<size_t>(1, n_used);
  const size_t d_ff = std::max<size_t>(config_.d_ff, config_.d_ff_expert);
  const auto take = [](DeviceBuffer& buffer, size_t bytes) -> Status {
    SPLITD_ASSIGN(buffer, DeviceBuffer::make(bytes, "the room for a batch"));
    return {};
  };
  SPLITD_ASSIGN(host_rows_,
                PinnedBuffer::make(wide * std::max(m * d, size_t{kProjectRows} * config_.n_vocab),
                                   "the room for a batch"));
  const size_t turns = wide * m * n_rotary_;
  inbox_bytes_ = kInboxBytes + turns;
  SPLITD_TRY(inbox_.reserve(inbox_bytes_));
  SPLITD_TRY(take(x_, wide * m * d));
  SPLITD_TRY(take(act_, wide * m * gpu::pad_k(static_cast<uint32_t>(std::max(d, d_attn)))));
  SPLITD_TRY(take(qkv_, wide * m * d_qkv()));
  SPLITD_TRY(take(delta_, wide * m * d));
  SPLITD_TRY(take(gate_up_, wide * n_place * 2 * d_ff));
  SPLITD_TRY(take(wide_act_, wide * n_place * gpu::pad_k(static_cast<uint32_t>(d_ff))));
  if (weights_.head().n_matrix != 0) {
    SPLITD_TRY(take(logits_, wide * kProjectRows * config_.n_vocab));
  }
  if (n_used == 0) return {};
  SPLITD_TRY(take(scores_, wide * m * config_.n_expert));
  SPLITD_TRY(take(expert_ids_, wide * n_place));
  SPLITD_TRY(take(expert_weights_, wide * n_place));
  SPLITD_TRY(take(expert_lists_, wide * n_place * config_.n_expert));
  SPLITD_TRY(take(expert_counts_, wide * config_.n_expert));
  return take(expert_out_, wide * n_place * d);
}

Result<std::unique_ptr<Kv>> CudaBackend::make_kv(const KvShape& shape) {
  use();
  SPLITD_TRY(cuda_status(fault_, "go on"));
  SPLITD_ASSIGN(std::unique_ptr<CudaKv> kv, CudaKv::make(config_, layers(), shape, stream_));
  // What longer sessions need of the room for a batch: nothing runs now that uses it.
  const uint32_t n_split = gpu::attention_splits(std::max(1u, shape.n_ctx) - 1, 0);
  const size_t one = gpu::attention_partial_bytes(config_.n_head, config_.d_head, n_split);
  const size_t partials = std::max(one, std::min(kMostPartialBytes, one * kMaxRows));
  const std::string what = "attention over " + std::to_string(shape.n_ctx) + " rows";
  if (partials > partials_.bytes()) {
    partials_ = DeviceBuffer();
    SPLITD_ASSIGN(partials_, DeviceBuffer::make(partials, what));
  }
  const size_t inbox = inbox_bytes_ + sizeof(uint32_t) * kMaxRows * size_t{shape.max_pending};
  if (inbox > inbox_.bytes()) SPLITD_TRY(inbox_.reserve(inbox));
  return std::unique_ptr<Kv>(std::move(kv));
}

void CudaBackend::wait() {
  check(cudaStreamSynchronize(stream_));
  inbox_.restart();
}

// What the device sent to host_rows_; NaN once it is broken, for what lies there is old.
void CudaBackend::take_floats(float* to, size_t n) const {
  if (fault_ == cudaSuccess) {
    std::memcpy(to, host_rows_.data(), n * sizeof(float));
  } else {
    std::fill_n(to, n, std::numeric_limits<float>::quiet_NaN());
  }
}

void CudaBackend::move_rows(Kv& kv, std::span<const SlotMove> moves) {
  use();
  auto& cache = static_cast<CudaKv&>(kv);
  constexpr size_t kMost = 4096;  // moves at a time
  for (size_t at = 0; at < moves.size(); at += kMost) {
    const auto some = moves.subspan(at, std::min(kMost, moves.size() - at));
    move_list_.clear();
    for (const SlotMove& move : some) {
      move_list_.push_back(move.from);
      move_list_.push_back(move.to);
    }
    if (!inbox_.has_room(move_list_.size() * sizeof(uint32_t))) wait();
    const uint32_t* list = inbox_.push(std::span<const uint32_t>(move_list_), stream_, fault_);
    if (fault_ != cudaSuccess) return;
    check(gpu::copy_rows({.views = cache.views(),
                          .n_layer = layers().end - layers().begin,
                          .moves = list,
                          .n_move = static_cast<uint32_t>(some.size()),
                          .n_kv_head = config_.n_kv_head,
                          .row_bytes = gpu::kv_row_bytes(cache.type(), config_.d_head)},
                         stream_));
  }
}

// Rows, their paths and the turns of their positions, to the device.
void CudaBackend::describe(std::span<const BatchRow> rows) {
  m_ = static_cast<uint32_t>(rows.size());
  row_list_.clear();
  path_list_.clear();
  positions_.clear();
  kv_types_.clear();
  cos_sin_list_.resize(rows.size() * n_rotary_);
  float* turns = cos_sin_list_.data();
  for (const BatchRow& row : rows) {
    const auto& kv = *static_cast<const CudaKv*>(row.kv);
    kv_types_.push_back(kv.type());
    positions_.push_back(row.position);
    row_list_.push_back({.layers = kv.views(),
                         .position = row.position,
                         .slot = row.slot,
                         .n_committed = row.n_committed,
                         .path = static_cast<uint32_t>(path_list_.size())});
    for (uint32_t at = row.n_committed; at <= row.position; ++at) {
      path_list_.push_back(row.path[at - row.n_committed]);
    }
    for (size_t i = 0; i < config_.ropes.size(); ++i) {
      const RopeConfig& rope = config_.ropes[i];
      const size_t n = rope.n_rotary / 2;
      const bool is_long = rope.kind == RopeKind::longrope && kv.shape().n_ctx > rope.original_ctx;
      const auto& set = is_long ? frequencies_[i].long_session : frequencies_[i].short_session;
      kernels::rope_table(set.data(), n, row.position, rope.attention_factor, turns, turns + n);
      turns += rope.n_rotary;
    }
  }
  const size_t bytes = row_list_.size() * sizeof(gpu::BatchRow) + path_list_.size() * 4 +
                       cos_sin_list_.size() * 4 + 3 * 256;
  if (!inbox_.has_room(bytes)) wait();
  rows_ = inbox_.push(std::span<const gpu::BatchRow>(row_list_), stream_, fault_);
  paths_ = inbox_.push(std::span<const uint32_t>(path_list_), stream_, fault_);
  cos_sin_ = inbox_.push(std::span<const float>(cos_sin_list_), stream_, fault_);
}

// Matrices of one type side by side in one launch.
void CudaBackend::run(const CudaProducts& products, const void* a, float* c, size_t c_stride) {
  uint32_t i = 0;
  while (i < products.n_matrix) {
    gpu::MatmulJob job;
    job.a = a;
    job.a_type = products.form;
    job.m = m_;
    job.c = c;
    job.c_stride = c_stride;
    const gpu::WeightType type = products.w[i].type;
    for (; i < products.n_matrix && products.w[i].type == type; ++i) {
      job.w[job.n_matrix++] = products.w[i];
      c += products.w[i].n;
    }
    check(gpu::matmul(job, stream_));
  }
}

void CudaBackend::add_norm(const float* delta, const float* bias, const float* post_norm,
                           const float* norm, gpu::ActivationType form) {
  check(gpu::add_norm({.x = x_.as<float>(),
                       .delta = delta,
                       .bias = bias,
                       .post_norm = post_norm,
                       .norm = norm,
                       .out = {act_.data(), form},
                       .m = m_,
                       .d = config_.d_model,
                       .eps = config_.norm_eps},
                      stream_));
}

// Normed rows in act_ → what attention adds, in delta_.
void CudaBackend::attend(const CudaLayer& layer, uint32_t index) {
  const LayerConfig& layer_config = config_.layers[index];
  run(layer.qkv, act_.data(), qkv_.as<float>(), d_qkv());
  size_t rope_begin = 0;
  for (size_t i = 0; i < layer_config.rope; ++i) rope_begin += config_.ropes[i].n_rotary;
  check(gpu::finish_qkv({.qkv = qkv_.as<float>(),
                         .bias = layer.qkv_bias,
                         .q_norm = layer.q_norm,
                         .k_norm = layer.k_norm,
                         .cos_sin = cos_sin_ + rope_begin,
                         .cos_sin_stride = n_rotary_,
                         .rows = rows_,
                         .layer = index - layers().begin,
                         .m = m_,
                         .n_head = config_.n_head,
                         .n_kv_head = config_.n_kv_head,
                         .d_head = config_.d_head,
                         .n_rotary = config_.ropes[layer_config.rope].n_rotary,
                         .eps = config_.norm_eps,
                         .interleaved = weights_.qk_interleaved()},
                        stream_));
  // As many rows at a time as the room for their splits allows, of one type of KV.
  const auto window = static_cast<uint32_t>(
      std::min<uint64_t>(layer_config.window, std::numeric_limits<uint32_t>::max()));
  uint32_t begin = 0;
  while (begin < m_) {
    uint32_t end = begin, n_split = 0;
    while (end < m_ && kv_types_[end] == kv_types_[begin]) {
      const uint32_t wider = std::max(n_split, gpu::attention_splits(positions_[end], window));
      const size_t bytes =
          gpu::attention_partial_bytes(config_.n_head, config_.d_head, wider) * (end + 1 - begin);
      if (end > begin && bytes > partials_.bytes()) break;
      n_split = wider;
      ++end;
    }
    const size_t width = gpu::pad_k(config_.n_head * config_.d_head);
    const size_t element = layer.o.form == gpu::ActivationType::bf16 ? 2 : 4;
    check(gpu::attention({.q = qkv_.as<float>() + size_t{begin} * d_qkv(),
                          .q_stride = d_qkv(),
                          .rows = rows_ + begin,
                          .paths = paths_,
                          .layer = index - layers().begin,
                          .m = end - begin,
                          .n_head = config_.n_head,
                          .n_kv_head = config_.n_kv_head,
                          .d_head = config_.d_head,
                          .window = window,
                          .n_split = n_split,
                          .scale = config_.attn_scale,
                          .softcap = config_.attn_softcap,
                          .kv_type = kv_types_[begin],
                          .partials = partials_.data(),
                          .out = {act_.as<std::byte>() + begin * width * element, layer.o.form}},
                         stream_));
    begin = end;
  }
  run(layer.o, act_.data(), delta_.as<float>(), config_.d_model);
}

void CudaBackend::feed_forward(const CudaLayer& layer) {
  if (layer.router.n_matrix != 0) return experts(layer);
  run(layer.gate_up, act_.data(), gate_up_.as<float>(), 2 * size_t{config_.d_ff});
  check(gpu::gate({.gate_up = gate_up_.as<float>(),
                   .bias = layer.gate_up_bias,
                   .out = {wide_act_.data(), layer.down.form},
                   .m = m_,
                   .n = config_.d_ff,
                   .kind = gate_kind(config_.activation)},
                  stream_));
  run(layer.down, wide_act_.data(), delta_.as<float>(), config_.d_model);
}

void CudaBackend::experts(const CudaLayer& layer) {
  const uint32_t n_used = config_.n_expert_used, n_place = m_ * n_used;
  run(layer.router, act_.data(), scores_.as<float>(), config_.n_expert);
  check(gpu::route({.scores = scores_.as<float>(),
                    .m = m_,
                    .n_expert = config_.n_expert,
                    .n_used = n_used,
                    .normalise = config_.norm_topk,
                    .ids = expert_ids_.as<uint32_t>(),
                    .weights = expert_weights_.as<float>(),
                    .lists = expert_lists_.as<uint32_t>(),
                    .counts = expert_counts_.as<uint32_t>()},
                   stream_));
  gpu::ExpertJob job{.w = layer.expert_gate_up.w,
                     .n_matrix = layer.expert_gate_up.n_matrix,
                     .n = layer.expert_gate_up.n,
                     .type = layer.expert_gate_up.type,
                     .lists = expert_lists_.as<uint32_t>(),
                     .counts = expert_counts_.as<uint32_t>(),
                     .n_expert = config_.n_expert,
                     .m_most = n_place,
                     .a_divisor = n_used,
                     .a = act_.data(),
                     .a_type = layer.expert_gate_up.form,
                     .c = gate_up_.as<float>(),
                     .c_stride = 2 * size_t{config_.d_ff_expert}};
  check(gpu::matmul_experts(job, stream_));
  check(gpu::gate({.gate_up = gate_up_.as<float>(),
                   .out = {wide_act_.data(), layer.expert_down.form},
                   .m = n_place,
                   .n = config_.d_ff_expert,
                   .kind = gate_kind(config_.activation)},
                  stream_));
  job.w = layer.expert_down.w;
  job.n_matrix = layer.expert_down.n_matrix;
  job.n = layer.expert_down.n;
  job.type = layer.expert_down.type;
  job.a_divisor = 1;
  job.a = wide_act_.data();
  job.a_type = layer.expert_down.form;
  job.c = expert_out_.as<float>();
  job.c_stride = config_.d_model;
  check(gpu::matmul_experts(job, stream_));
  check(gpu::combine({.parts = expert_out_.as<float>(),
                      .weights = expert_weights_.as<float>(),
                      .out = delta_.as<float>(),
                      .m = m_,
                      .n_used = n_used,
                      .d = config_.d_model},
                     stream_));
}

bool CudaBackend::forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
                          const std::function<bool()>& go_on) {
  if (rows.empty() || range.begin == range.end) return go_on();
  use();
  const size_t bytes = sizeof(float) * rows.size() * config_.d_model;
  describe(rows);
  std::memcpy(host_rows_.data(), hidden, bytes);
  check(cudaMemcpyAsync(x_.data(), host_rows_.data(), bytes, cudaMemcpyHostToDevice, stream_));
  bool went_through = true;
  for (uint32_t index = range.begin; index < range.end && fault_ == cudaSuccess; ++index) {
    went_through = go_on();
    if (!went_through) break;
    const CudaLayer& layer = weights_.layer(index);
    if (index == range.begin) {
      add_norm(nullptr, nullptr, nullptr, layer.attn_norm, layer.qkv.form);
    }
    attend(layer, index);
    add_norm(delta_.as<float>(), layer.o_bias, layer.attn_post_norm, layer.mlp_norm,
             mlp_form(layer));
    feed_forward(layer);
    const bool is_last = index + 1 == range.end;
    const CudaLayer* next = is_last ? nullptr : &weights_.layer(index + 1);
    add_norm(delta_.as<float>(), layer.down_bias, layer.mlp_post_norm,
             is_last ? nullptr : next->attn_norm,
             is_last ? gpu::ActivationType::f32 : next->qkv.form);
  }
  if (went_through) {
    check(cudaMemcpyAsync(host_rows_.data(), x_.data(), bytes, cudaMemcpyDeviceToHost, stream_));
  }
  wait();
  if (!went_through) return false;
  take_floats(hidden, rows.size() * config_.d_model);
  return true;
}

void CudaBackend::embed(std::span<const uint32_t> ids, float* hidden) {
  for (size_t i = 0; i < ids.size(); ++i) {
    float* row = hidden + i * config_.d_model;
    if (kernels::is_quantised(embed_type_)) {
      kernels::dequantise_row(embed_type_, embed_.data, config_.d_model, ids[i], row);
      if (config_.embed_scale != 1) table_.rows.scale(row, config_.d_model, config_.embed_scale);
      continue;
    }
    table_.rows.embed(embed_.data, embed_type_, ids[i], config_.d_model, config_.embed_scale, row);
  }
}

// The final norm, with the products' own f32 form, whatever the head wants.
void CudaBackend::norm(std::span<const float> hidden, float* normed) {
  use();
  const size_t d = config_.d_model, n_row = hidden.size() / d;
  for (size_t at = 0; at < n_row; at += kMaxRows) {
    m_ = static_cast<uint32_t>(std::min<size_t>(kMaxRows, n_row - at));
    const size_t bytes = sizeof(float) * m_ * d;
    std::memcpy(host_rows_.data(), hidden.data() + at * d, bytes);
    check(cudaMemcpyAsync(x_.data(), host_rows_.data(), bytes, cudaMemcpyHostToDevice, stream_));
    add_norm(nullptr, nullptr, nullptr, weights_.norm(), gpu::ActivationType::f32);
    const size_t pitch = sizeof(float) * gpu::pad_k(config_.d_model);
    check(cudaMemcpy2DAsync(host_rows_.data(), sizeof(float) * d, act_.data(), pitch,
                            sizeof(float) * d, m_, cudaMemcpyDeviceToHost, stream_));
    wait();
    take_floats(normed + at * d, m_ * d);
  }
}

void CudaBackend::project(std::span<const float> normed, float* logits) {
  use();
  const size_t d = config_.d_model, n_row = normed.size() / d, n_vocab = config_.n_vocab;
  for (size_t at = 0; at < n_row; at += kProjectRows) {
    m_ = static_cast<uint32_t>(std::min<size_t>(kProjectRows, n_row - at));
    const size_t bytes = sizeof(float) * m_ * d;
    std::memcpy(host_rows_.data(), normed.data() + at * d, bytes);
    check(cudaMemcpyAsync(x_.data(), host_rows_.data(), bytes, cudaMemcpyHostToDevice, stream_));
    check(gpu::convert_rows(x_.as<float>(), m_, config_.d_model,
                            {act_.data(), weights_.head().form}, stream_));
    run(weights_.head(), act_.data(), logits_.as<float>(), n_vocab);
    if (config_.final_softcap != 0) {
      check(gpu::softcap(logits_.as<float>(), m_ * n_vocab, config_.final_softcap, stream_));
    }
    const size_t out_bytes = sizeof(float) * m_ * n_vocab;
    check(cudaMemcpyAsync(host_rows_.data(), logits_.data(), out_bytes, cudaMemcpyDeviceToHost,
                          stream_));
    wait();
    take_floats(logits + at * n_vocab, m_ * n_vocab);
  }
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cuda_backend(const ModelConfig& config,
                                                   const ModelWeights& weights,
                                                   const CudaOptions& options) {
  return CudaBackend::make(config, weights, options);
}

}  // namespace splitd

// The seam's side of cuda_backend.h: batches in and out, KV, embedding and head, what fails.
#include "runtime/engine/cuda/cuda_backend.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/rows.h"
#include "kernels/quantised.h"
#include "runtime/engine/cuda/cuda_batch.h"
#include "runtime/engine/cuda/cuda_bulk.h"
#include "runtime/engine/cuda/cuda_graphs.h"
#include "runtime/engine/cuda/cuda_kv.h"
#include "runtime/engine/cuda/cuda_layers.h"
#include "runtime/engine/cuda/cuda_weights.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/engine/weight_type.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

constexpr int kKernelRevision = 1;  // counts up when a kernel's results change
constexpr uint32_t kMaxRows = 256;
static_assert(kMaxRows >= kBulkRows);
constexpr uint32_t kMostAhead = 2;  // runs of layers: one at work, one behind it
constexpr size_t kMovesBytes = size_t{2} << 20;
constexpr uint32_t kProjectRows = 64;  // whose logits are on the device together

class CudaBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> make(const ModelConfig& config,
                                               const ModelWeights& weights,
                                               const CudaOptions& options);
  ~CudaBackend() override;

  const ModelConfig& config() const override { return config_; }
  LayerRange layers() const override { return weights_.range(); }
  std::string arith() const override {
    const std::string bulk = bulk_ == nullptr ? "" : "+" + bulk_->arith();
    return "cuda/" + architecture_ + "/" + std::to_string(kKernelRevision) + bulk +
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
  bool takes_bulk() const override { return bulk_ != nullptr; }
  Status fault() const override { return cuda_status(fault_, "go on"); }

 private:
  CudaBackend(const ModelConfig& config, const CudaOptions& options)
      : config_(config),
        table_(*options.table),
        exact_(options.exact),
        device_(options.device),
        device_ms_(options.device_ms),
        graphs_(options.graphs) {}

  // Which device a thread speaks to is the thread's own.
  void use() { check(cudaSetDevice(device_)); }
  Status reserve();
  Status reserve_session(const KvShape& shape);
  void check(cudaError_t error) {
    if (fault_ == cudaSuccess) fault_ = error;
  }
  void wait();
  double elapsed_ms();
  void take_floats(const float* from, float* to, size_t n) const;

  const ModelConfig config_;
  const kernels::KernelTable& table_;
  const bool exact_;
  const int device_;
  double* const device_ms_;
  std::string architecture_;
  cudaStream_t stream_ = nullptr;
  cudaError_t fault_ = cudaSuccess;
  CudaWeights weights_;
  TensorView embed_;
  kernels::WeightType embed_type_ = kernels::WeightType::f32;

  std::unique_ptr<CudaBulk> bulk_;
  std::optional<CudaLayers> layers_;
  std::optional<CudaBatch> batch_;
  CudaGraphs graphs_;
  cudaEvent_t ran_[kMostAhead] = {};  // the runs of layers that the device was given last
  cudaEvent_t timed_[2] = {};         // a batch's begin and end; with device_ms_
  DeviceInbox moves_;                 // of rows of KV
  std::vector<uint32_t> move_list_;
  PinnedBuffer host_rows_;  // to and from the head
  DeviceBuffer logits_;
};

// Heads that share a kv head are one block's, and so is the memory for them.
Status check_heads(const ModelConfig& config, size_t most_bytes) {
  constexpr size_t kOther = 1024;  // that the kernel declares
  const uint32_t n_group = config.n_head / config.n_kv_head;
  const size_t bytes = gpu::attention_shared_bytes(n_group, config.d_head) + kOther;
  if (bytes <= most_bytes) return {};
  return model_error(std::to_string(n_group) + " heads of " + std::to_string(config.d_head) +
                     " that share one kv head need " + std::to_string(bytes) +
                     " bytes of shared memory; this GPU has " + std::to_string(most_bytes));
}

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
  int major = 0, minor = 0, shared = 0;
  backend->check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, options.device));
  backend->check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, options.device));
  backend->check(
      cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, options.device));
  SPLITD_TRY(cuda_status(backend->fault_, "say what it is"));
  SPLITD_TRY(check_heads(config, static_cast<size_t>(shared)));
  backend->architecture_ = "sm_" + std::to_string(major * 10 + minor);
  SPLITD_TRY(cuda_status(cudaStreamCreateWithFlags(&backend->stream_, cudaStreamNonBlocking),
                         "make a stream"));
  SPLITD_ASSIGN(backend->weights_, CudaWeights::upload(config, weights, options.exact,
                                                       backend->stream_, options.progress));
  backend->embed_ = weights.embed;
  if (weights.embed.data != nullptr) {
    SPLITD_ASSIGN(backend->embed_type_, weight_type(weights.embed.dtype));
  }
  SPLITD_TRY(backend->reserve());
  // A device that this build has no code for says so at the first kernel.
  backend->check(gpu::softcap(backend->layers_->spare_rows(), 1, 1.0f, backend->stream_));
  backend->check(cudaStreamSynchronize(backend->stream_));
  SPLITD_TRY(cuda_status(backend->fault_, "run this build's kernels"));
  if (options.bulk && !options.exact) {  // last: it is what can be done without
    std::string problem;                 // `doctor` says it
    backend->bulk_ = CudaBulk::make(backend->weights_, options.device, backend->stream_, problem);
    backend->layers_->use_bulk(backend->bulk_.get());
  }
  return std::unique_ptr<Backend>(std::move(backend));
}

CudaBackend::~CudaBackend() {
  if (stream_ == nullptr) return;
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
  graphs_.clear();
  bulk_.reset();  // speaks to the stream
  for (cudaEvent_t event : {ran_[0], ran_[1], timed_[0], timed_[1]}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  cudaStreamDestroy(stream_);
}

Status CudaBackend::reserve() {
  SPLITD_ASSIGN(layers_, CudaLayers::make(config_, weights_, kMaxRows));
  SPLITD_ASSIGN(batch_, CudaBatch::make(config_, kMaxRows));
  for (cudaEvent_t& event : ran_) {
    SPLITD_TRY(
        cuda_status(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event"));
  }
  for (cudaEvent_t& event : timed_) {
    if (device_ms_ == nullptr) break;
    SPLITD_TRY(cuda_status(cudaEventCreateWithFlags(&event, cudaEventDefault), "make an event"));
  }
  SPLITD_TRY(moves_.reserve(kMovesBytes));
  const bool has_head = weights_.head().n_matrix != 0;
  const size_t logits = has_head ? sizeof(float) * kProjectRows * config_.n_vocab : 0;
  const size_t normed = sizeof(float) * kMaxRows * config_.d_model;
  SPLITD_ASSIGN(host_rows_, PinnedBuffer::make(std::max(normed, logits), "the head's rows"));
  SPLITD_ASSIGN(logits_, DeviceBuffer::make(logits, "the head's rows"));
  return {};
}

// What longer sessions need more of. Nothing runs now that uses it.
Status CudaBackend::reserve_session(const KvShape& shape) {
  const uint64_t before = layers_->attention_bytes() + batch_->bytes();
  Status status = layers_->reserve_attention(shape.n_ctx);
  if (status.ok()) status = batch_->reserve_paths(shape.max_pending);
  if (layers_->attention_bytes() + batch_->bytes() != before) graphs_.clear();
  return status;
}

Result<std::unique_ptr<Kv>> CudaBackend::make_kv(const KvShape& shape) {
  use();
  SPLITD_TRY(cuda_status(fault_, "go on"));
  SPLITD_ASSIGN(std::unique_ptr<CudaKv> kv, CudaKv::make(config_, layers(), shape, stream_));
  SPLITD_TRY(reserve_session(shape));
  return std::unique_ptr<Kv>(std::move(kv));
}

void CudaBackend::wait() {
  check(cudaStreamSynchronize(stream_));
  moves_.restart();
}

double CudaBackend::elapsed_ms() {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, timed_[0], timed_[1]));
  return ms;
}

// What the device sent to pinned memory; NaN once it is broken, for what lies there is old.
void CudaBackend::take_floats(const float* from, float* to, size_t n) const {
  if (fault_ == cudaSuccess) {
    std::copy_n(from, n, to);
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
    if (!moves_.has_room(move_list_.size() * sizeof(uint32_t))) wait();
    const uint32_t* list = moves_.push(std::span<const uint32_t>(move_list_), stream_, fault_);
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

// The device is given one run of layers while it is at another: as much as keeps it busy, and so
// little that a batch that nobody wants is soon given up. A run is a layer, or what a graph holds.
bool CudaBackend::forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
                          const std::function<bool()>& go_on) {
  if (rows.empty() || range.begin == range.end) return go_on();
  use();
  if (device_ms_ != nullptr) check(cudaEventRecord(timed_[0], stream_));
  check(batch_->send(rows, hidden, graphs_.bucket(rows.size()), stream_));
  const std::vector<CudaGraph>* graphs = nullptr;
  graphs_.begin();
  if (batch_->is_fixed() && rows.size() <= CudaGraphs::kMostRows && fault_ == cudaSuccess) {
    graphs = graphs_.find(batch_->step(), range, *layers_, stream_);
  }
  const auto n_run =
      graphs != nullptr ? static_cast<uint32_t>(graphs->size()) : range.end - range.begin;
  bool went_through = true;
  for (uint32_t i = 0; i < n_run && fault_ == cudaSuccess; ++i) {
    const cudaEvent_t done = ran_[i % kMostAhead];  // of run i − 2, then of this one
    if (i >= kMostAhead) check(cudaEventSynchronize(done));
    went_through = go_on();
    if (!went_through) break;
    const LayerRange run = CudaGraphs::part(range, i, n_run);
    if (graphs != nullptr && (*graphs)[i].launch(stream_) != cudaSuccess) {
      graphs_.disable();
      graphs = nullptr;
    }
    if (graphs == nullptr) check(layers_->run(batch_->step(), run, range, stream_));
    check(cudaEventRecord(done, stream_));
  }
  if (went_through && fault_ == cudaSuccess) check(batch_->fetch(stream_));
  if (device_ms_ != nullptr) check(cudaEventRecord(timed_[1], stream_));
  wait();
  if (device_ms_ != nullptr) *device_ms_ = elapsed_ms();
  if (!went_through) return false;
  if (fault_ == cudaSuccess) graphs_.ran();
  take_floats(batch_->hidden().data(), hidden, rows.size() * config_.d_model);
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
  const size_t d = config_.d_model, n_row = hidden.size() / d, wide = sizeof(float);
  auto* host = host_rows_.as<float>();
  float* x = layers_->spare_rows();
  for (size_t at = 0; at < n_row; at += kMaxRows) {
    const auto m = static_cast<uint32_t>(std::min<size_t>(kMaxRows, n_row - at));
    std::copy_n(hidden.data() + at * d, m * d, host);
    check(cudaMemcpyAsync(x, host, wide * m * d, cudaMemcpyHostToDevice, stream_));
    check(layers_->norm(x, m, stream_));
    check(cudaMemcpy2DAsync(host, wide * d, layers_->normed(), wide * gpu::pad_k(config_.d_model),
                            wide * d, m, cudaMemcpyDeviceToHost, stream_));
    wait();
    take_floats(host, normed + at * d, m * d);
  }
}

void CudaBackend::project(std::span<const float> normed, float* logits) {
  use();
  const size_t d = config_.d_model, n_row = normed.size() / d, n_vocab = config_.n_vocab;
  auto* host = host_rows_.as<float>();
  float* x = layers_->spare_rows();
  for (size_t at = 0; at < n_row; at += kProjectRows) {
    const auto m = static_cast<uint32_t>(std::min<size_t>(kProjectRows, n_row - at));
    std::copy_n(normed.data() + at * d, m * d, host);
    check(cudaMemcpyAsync(x, host, sizeof(float) * m * d, cudaMemcpyHostToDevice, stream_));
    check(layers_->project(x, m, logits_.as<float>(), stream_));
    check(cudaMemcpyAsync(host, logits_.data(), sizeof(float) * m * n_vocab, cudaMemcpyDeviceToHost,
                          stream_));
    wait();
    take_floats(host, logits + at * n_vocab, m * n_vocab);
  }
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cuda_backend(const ModelConfig& config,
                                                   const ModelWeights& weights,
                                                   const CudaOptions& options) {
  return CudaBackend::make(config, weights, options);
}

}  // namespace splitd

// One layer function, driven by the plain config: what a model does not have is skipped.
#include "runtime/engine/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/quantised.h"
#include "runtime/base/memory.h"
#include "runtime/engine/aligned_buffer.h"
#include "runtime/engine/cpu_attention.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/cpu_matmul.h"
#include "runtime/engine/cpu_weights.h"
#include "runtime/engine/kv_room.h"
#include "runtime/engine/rope_frequencies.h"

namespace splitd {
namespace {

constexpr int kKernelRevision = 1;                  // counts up when a kernel's results change
constexpr size_t kScratchBytes = size_t{24} << 20;  // activations of the longest batch
constexpr size_t kRowsPerPiece = 4;

kernels::Gate gate_kind(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return kernels::Gate::silu;
    case Activation::gelu_tanh:
      return kernels::Gate::gelu_tanh;
    case Activation::gelu_erf:
      return kernels::Gate::gelu_erf;
  }
  return kernels::Gate::silu;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const ModelConfig& config, CpuWeights weights, const CpuOptions& options)
      : config_(config),
        weights_(std::move(weights)),
        table_(*options.table),
        exact_(options.exact),
        pool_(*options.pool),
        matmul_(table_, options.exact, pool_, options.observe),
        attention_(table_, pool_, config_) {
    for (const RopeConfig& rope : config_.ropes) {
      frequencies_.push_back(rope_frequencies_of(rope));
      n_rotary_ += rope.n_rotary;
    }
  }

  const ModelConfig& config() const override { return config_; }
  LayerRange layers() const override { return weights_.range(); }
  std::string arith() const override {
    return std::string("cpu/") + table_.name + "/" + std::to_string(kKernelRevision) +
           (exact_ ? "/f32" : "/auto");
  }

  uint64_t kv_bytes(const KvShape& shape) const override {
    return CpuKv::bytes_for(config_, layers(), shape);
  }
  Result<std::unique_ptr<Kv>> make_kv(const KvShape& shape) override {
    const Backend* const self = this;
    SPLITD_TRY(check_kv_room({&self, 1}, shape, available_memory_bytes()));
    SPLITD_ASSIGN(std::unique_ptr<CpuKv> kv, CpuKv::make(config_, layers(), shape));
    return std::unique_ptr<Kv>(std::move(kv));
  }
  void move_rows(Kv& kv, std::span<const SlotMove> moves) override;
  bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override;
  void embed(std::span<const uint32_t> ids, float* hidden) override;
  void norm(std::span<const float> hidden, float* normed) override;
  void project(std::span<const float> normed, float* logits) override;
  uint32_t max_rows() const override;

 private:
  size_t d_qkv() const { return size_t{config_.n_head + 2 * config_.n_kv_head} * config_.d_head; }
  template <class Work>
  void for_rows(size_t n_row, const Work& work);
  void rms_norm(const CpuNorm& norm, const float* x, float* out, size_t n) const;
  void prepare_rope(std::span<const BatchRow> rows);
  void separate_pairs(float* heads, float* scratch) const;
  float* write_kv(const CpuLayer& layer, uint32_t index, const float* hidden);
  void attend(const CpuLayer& layer, uint32_t index, float* qkv, float* hidden);
  void finish_read(const CpuLayer& layer, uint32_t index, float* qkv, float* hidden);
  void feed_forward(const CpuLayer& layer, float* hidden);
  void gated(const std::vector<CpuMatrix>& gate_up, const CpuMatrix& down, const CpuRows& rows,
             const std::vector<float>& bias, float* out);
  void experts(const CpuLayer& layer, const float* normed, float* out);
  void route(const CpuLayer& layer, const float* normed);
  void add_to(const CpuNorm& post_norm, float* delta, float* hidden);

  const ModelConfig config_;
  const CpuWeights weights_;
  const kernels::KernelTable& table_;
  const bool exact_;
  ThreadPool& pool_;
  CpuMatmul matmul_;
  CpuAttention attention_;
  std::vector<RopeFrequencies> frequencies_;  // by config rope
  size_t n_rotary_ = 0;                       // of all ropes

  // The batch at hand.
  std::span<const BatchRow> rows_;
  std::vector<BatchRow> read_rows_;  // those of the last layer that are read
  AlignedBuffer read_hidden_;
  AlignedBuffer cos_sin_;  // by row, by rope: cos, sin
  AlignedBuffer normed_, qkv_, delta_, gate_up_;
  AlignedBuffer head_;  // by row: one head
  // Experts: by row, the chosen ones ascending, and their weights; by expert, its rows.
  AlignedBuffer router_, expert_out_;
  std::vector<std::pair<uint32_t, float>> chosen_;
  std::vector<uint32_t> expert_rows_;
  std::vector<float> route_values_;
  std::vector<uint32_t> route_ids_;
  std::vector<CpuMatrix> gate_up_pair_{2};  // of the expert at hand
};

// work(row) for every row, divided where that pays.
template <class Work>
void CpuBackend::for_rows(size_t n_row, const Work& work) {
  if (n_row <= kRowsPerPiece) {
    for (size_t row = 0; row < n_row; ++row) work(row);
    return;
  }
  const auto n_piece = static_cast<uint32_t>((n_row + kRowsPerPiece - 1) / kRowsPerPiece);
  pool_.run(n_piece, [&](uint32_t piece, uint32_t) {
    const size_t begin = piece * kRowsPerPiece;
    for (size_t row = begin; row < std::min(n_row, begin + kRowsPerPiece); ++row) work(row);
  });
}

void CpuBackend::rms_norm(const CpuNorm& norm, const float* x, float* out, size_t n) const {
  table_.rows.rms_norm({.x = x,
                        .w = norm.w,
                        .out = out,
                        .n = n,
                        .eps = config_.norm_eps,
                        .w_type = norm.type,
                        .plus_one = weights_.norm_plus_one()});
}

uint32_t CpuBackend::max_rows() const {
  const size_t d_ff = std::max<size_t>(config_.d_ff, config_.d_ff_expert);
  const size_t row = sizeof(float) * (3 * size_t{config_.d_model} + d_qkv() + 2 * d_ff);
  return static_cast<uint32_t>(std::clamp<size_t>(kScratchBytes / row / 64 * 64, 64, 512));
}

void CpuBackend::move_rows(Kv& kv, std::span<const SlotMove> moves) {
  auto& cache = static_cast<CpuKv&>(kv);
  for (uint32_t layer = layers().begin; layer < layers().end; ++layer) {
    const SlotMap slots = cache.slots(layer);
    for (uint32_t head = 0; head < config_.n_kv_head; ++head) {
      for (const SlotMove& move : moves) {
        const uint32_t from = slots(move.from), to = slots(move.to);
        table_.attention.copy_k(cache.type(), config_.d_head, from, to, cache.k(layer, head));
        table_.attention.copy_v(cache.type(), config_.d_head, from, to, cache.v(layer, head));
      }
    }
  }
}

void CpuBackend::prepare_rope(std::span<const BatchRow> rows) {
  float* tables = cos_sin_.floats(rows.size() * n_rotary_);
  for_rows(rows.size(), [&](size_t row) {
    float* out = tables + row * n_rotary_;
    for (size_t i = 0; i < config_.ropes.size(); ++i) {
      const RopeConfig& rope = config_.ropes[i];
      const size_t n = rope.n_rotary / 2;
      const KvShape& shape = static_cast<const CpuKv*>(rows[row].kv)->shape();
      const bool is_long = rope.kind == RopeKind::longrope && shape.n_ctx > rope.original_ctx;
      const auto& set = is_long ? frequencies_[i].long_session : frequencies_[i].short_session;
      kernels::rope_table(set.data(), n, rows[row].position, rope.attention_factor, out, out + n);
      out += rope.n_rotary;
    }
  });
}

// x += delta, normalised first where the model does that.
void CpuBackend::add_to(const CpuNorm& post_norm, float* delta, float* hidden) {
  const size_t d = config_.d_model;
  for_rows(rows_.size(), [&](size_t row) {
    if (post_norm.w != nullptr) rms_norm(post_norm, delta + row * d, delta + row * d, d);
    table_.rows.add(hidden + row * d, delta + row * d, d);
  });
}

// Pairs (2j, 2j+1) of each head of q and k become (j, j + d_head/2): weights.h. On the products
// rather than on the weights, so that these are used where they lie, whatever their type.
void CpuBackend::separate_pairs(float* heads, float* scratch) const {
  const size_t d_head = config_.d_head, half = d_head / 2;
  for (size_t head = 0; head < size_t{config_.n_head} + config_.n_kv_head; ++head) {
    float* x = heads + head * d_head;
    std::copy_n(x, d_head, scratch);
    for (size_t j = 0; j < half; ++j) {
      x[j] = scratch[2 * j];
      x[half + j] = scratch[2 * j + 1];
    }
  }
}

// Keys and values go to their slots; the queries come back, with room for what attention makes.
float* CpuBackend::write_kv(const CpuLayer& layer, uint32_t index, const float* hidden) {
  const size_t n_row = rows_.size(), d = config_.d_model, d_head = config_.d_head;
  const LayerConfig& layer_config = config_.layers[index];
  float* normed = normed_.floats(n_row * d);
  for_rows(n_row,
           [&](size_t row) { rms_norm(layer.attn_norm, hidden + row * d, normed + row * d, d); });

  float* qkv = qkv_.floats(n_row * d_qkv());
  CpuProduct products[3];
  size_t column = 0, n_product = 0;
  for (const CpuMatrix& w : layer.qkv) {
    products[n_product++] = {&w, qkv + column, d_qkv()};
    column += w.n;
  }
  matmul_.run({normed, d, n_row, nullptr}, std::span(products, n_product));

  size_t rope_begin = 0;
  for (size_t i = 0; i < layer_config.rope; ++i) rope_begin += config_.ropes[i].n_rotary;
  const size_t n_rotary = config_.ropes[layer_config.rope].n_rotary;
  const float* tables = cos_sin_.floats(0);
  float* one_head = weights_.qk_interleaved() ? head_.floats(n_row * d_head) : nullptr;
  for_rows(n_row, [&](size_t row) {
    float* x = qkv + row * d_qkv();
    if (!layer.qkv_bias.empty()) table_.rows.add(x, layer.qkv_bias.data(), d_qkv());
    if (one_head != nullptr) separate_pairs(x, one_head + row * d_head);
    for (uint32_t head = 0; config_.qk_norm && head < config_.n_head + config_.n_kv_head; ++head) {
      const CpuNorm& norm = head < config_.n_head ? layer.q_norm : layer.k_norm;
      rms_norm(norm, x + head * d_head, x + head * d_head, d_head);
    }
    const float* cos = tables + row * n_rotary_ + rope_begin;
    table_.rows.rope(x, config_.n_head + config_.n_kv_head, d_head, n_rotary, cos,
                     cos + n_rotary / 2);
    attention_.write_kv(row, index, x);
  });
  return qkv;
}

void CpuBackend::attend(const CpuLayer& layer, uint32_t index, float* qkv, float* hidden) {
  const size_t n_row = rows_.size(), d = config_.d_model;
  attention_.run(index, qkv, d_qkv());
  float* delta = delta_.floats(n_row * d);
  const CpuProduct out{&layer.o, delta, d};
  matmul_.run({qkv, d_qkv(), n_row, nullptr}, std::span(&out, 1));
  if (!layer.o_bias.empty()) {
    for (size_t row = 0; row < n_row; ++row) {
      table_.rows.add(delta + row * d, layer.o_bias.data(), d);
    }
  }
  add_to(layer.attn_post_norm, delta, hidden);
}

// out = down(act(gate) · up) for the rows; the bias of gate and up may be empty.
void CpuBackend::gated(const std::vector<CpuMatrix>& gate_up, const CpuMatrix& down,
                       const CpuRows& rows, const std::vector<float>& bias, float* out) {
  const size_t d_ff = down.k, width = 2 * d_ff;
  float* both = gate_up_.floats(rows.m * width);
  CpuProduct products[2];
  size_t column = 0, n_product = 0;
  for (const CpuMatrix& w : gate_up) {
    products[n_product++] = {&w, both + column, width};
    column += w.n;
  }
  matmul_.run(rows, std::span(products, n_product));
  for_rows(rows.m, [&](size_t row) {
    float* gate = both + row * width;
    if (!bias.empty()) table_.rows.add(gate, bias.data(), width);
    table_.rows.gate(gate_kind(config_.activation), gate, gate + d_ff, gate, d_ff);
  });
  const CpuProduct product{&down, out, config_.d_model};
  matmul_.run({both, width, rows.m, nullptr}, std::span(&product, 1));
}

// The experts of each row, ascending by id, and their weights. Ties go to the lower id.
void CpuBackend::route(const CpuLayer& layer, const float* normed) {
  const size_t n_row = rows_.size(), n_expert = config_.n_expert, n_used = config_.n_expert_used;
  float* scores = router_.floats(n_row * n_expert);
  const CpuProduct product{&layer.router, scores, n_expert};
  matmul_.run({normed, config_.d_model, n_row, nullptr}, std::span(&product, 1));
  chosen_.resize(n_row * n_used);
  route_values_.resize(n_used);
  route_ids_.resize(n_used);
  for (size_t row = 0; row < n_row; ++row) {
    float* p = scores + row * n_expert;
    table_.rows.softmax(p, n_expert);
    auto* picked = chosen_.data() + row * n_used;
    const size_t bad =
        table_.rows.top_k(p, n_expert, n_used, route_values_.data(), route_ids_.data());
    float sum = 0;
    for (size_t i = 0; i < n_used; ++i) {
      // NaN scores order nothing: the row stays poisoned, by the first experts.
      picked[i] = bad == n_expert ? std::pair(route_ids_[i], route_values_[i])
                                  : std::pair(static_cast<uint32_t>(i),
                                              std::numeric_limits<float>::quiet_NaN());
      sum += picked[i].second;
    }
    if (config_.norm_topk) {
      for (size_t i = 0; i < n_used; ++i) picked[i].second /= sum;
    }
    std::sort(picked, picked + n_used,
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }
}

void CpuBackend::experts(const CpuLayer& layer, const float* normed, float* out) {
  const size_t n_row = rows_.size(), d = config_.d_model, n_used = config_.n_expert_used;
  route(layer, normed);
  std::fill(out, out + n_row * d, 0.0f);
  float* one = expert_out_.floats(n_row * d);
  for (uint32_t e = 0; e < config_.n_expert; ++e) {
    expert_rows_.clear();
    for (size_t i = 0; i < chosen_.size(); ++i) {
      if (chosen_[i].first == e) expert_rows_.push_back(static_cast<uint32_t>(i / n_used));
    }
    if (expert_rows_.empty()) continue;
    const CpuExpert& expert = layer.experts[e];
    gate_up_pair_[0] = expert.gate;
    gate_up_pair_[1] = expert.up;
    gated(gate_up_pair_, expert.down, {normed, d, expert_rows_.size(), expert_rows_.data()}, {},
          one);
    for (size_t i = 0; i < expert_rows_.size(); ++i) {
      const auto* picked = chosen_.data() + expert_rows_[i] * n_used;
      while (picked->first != e) ++picked;
      table_.rows.add_scaled(out + expert_rows_[i] * d, one + i * d, d, picked->second);
    }
  }
}

void CpuBackend::feed_forward(const CpuLayer& layer, float* hidden) {
  const size_t n_row = rows_.size(), d = config_.d_model;
  float* normed = normed_.floats(n_row * d);
  float* delta = delta_.floats(n_row * d);
  for_rows(n_row,
           [&](size_t row) { rms_norm(layer.mlp_norm, hidden + row * d, normed + row * d, d); });
  if (layer.experts.empty()) {
    gated(layer.gate_up, layer.down, {normed, d, n_row, nullptr}, layer.gate_up_bias, delta);
    for (size_t row = 0; !layer.down_bias.empty() && row < n_row; ++row) {
      table_.rows.add(delta + row * d, layer.down_bias.data(), d);
    }
  } else {
    experts(layer, normed, delta);
  }
  add_to(layer.mlp_post_norm, delta, hidden);
}

// The rest of the last layer, for the rows that are read alone.
void CpuBackend::finish_read(const CpuLayer& layer, uint32_t index, float* qkv, float* hidden) {
  const size_t d = config_.d_model;
  const std::span<const BatchRow> all = rows_;
  read_rows_.clear();
  for (size_t row = 0; row < all.size(); ++row) {
    if (!all[row].is_read) continue;
    std::copy_n(qkv + row * d_qkv(), d_qkv(), qkv + read_rows_.size() * d_qkv());
    read_rows_.push_back(all[row]);
  }
  if (read_rows_.empty()) return;
  float* read = read_hidden_.floats(read_rows_.size() * d);
  const auto each_read = [&](const auto& copy) {
    for (size_t row = 0, at = 0; row < all.size(); ++row) {
      if (all[row].is_read) copy(hidden + row * d, read + at++ * d);
    }
  };
  each_read([d](const float* from, float* to) { std::copy_n(from, d, to); });
  rows_ = read_rows_;
  attention_.begin(rows_);
  attend(layer, index, qkv, read);
  feed_forward(layer, read);
  each_read([d](float* to, const float* from) { std::copy_n(from, d, to); });
}

bool CpuBackend::forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
                         const std::function<bool()>& go_on) {
  rows_ = rows;
  attention_.begin(rows);
  prepare_rope(rows);
  const bool all_read =
      std::all_of(rows.begin(), rows.end(), [](const BatchRow& row) { return row.is_read; });
  for (uint32_t index = range.begin; index < range.end; ++index) {
    if (!go_on()) return false;
    const CpuLayer& layer = weights_.layer(index);
    float* qkv = write_kv(layer, index, hidden);
    if (index + 1 == config_.n_layer && !all_read) {
      finish_read(layer, index, qkv, hidden);
      continue;
    }
    attend(layer, index, qkv, hidden);
    feed_forward(layer, hidden);
  }
  return true;
}

void CpuBackend::embed(std::span<const uint32_t> ids, float* hidden) {
  const CpuMatrix& table = weights_.embed();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (kernels::is_quantised(table.type)) {
      float* row = hidden + i * config_.d_model;
      kernels::dequantise_row(table.type, table.data, table.k, ids[i], row);
      if (config_.embed_scale != 1) table_.rows.scale(row, config_.d_model, config_.embed_scale);
      continue;
    }
    table_.rows.embed(table.data, table.type, ids[i], config_.d_model, config_.embed_scale,
                      hidden + i * config_.d_model);
  }
}

void CpuBackend::norm(std::span<const float> hidden, float* normed) {
  const size_t d = config_.d_model;
  for_rows(hidden.size() / d, [&](size_t row) {
    rms_norm(weights_.norm(), hidden.data() + row * d, normed + row * d, d);
  });
}

void CpuBackend::project(std::span<const float> normed, float* logits) {
  const size_t n_row = normed.size() / config_.d_model, n_vocab = config_.n_vocab;
  const CpuProduct product{&weights_.head(), logits, n_vocab};
  matmul_.run({normed.data(), config_.d_model, n_row, nullptr}, std::span(&product, 1));
  if (config_.final_softcap == 0) return;
  constexpr size_t kPiece = 4096;
  const size_t total = n_row * n_vocab;
  pool_.run(static_cast<uint32_t>((total + kPiece - 1) / kPiece), [&](uint32_t piece, uint32_t) {
    const size_t begin = piece * kPiece;
    table_.rows.softcap(logits + begin, std::min(kPiece, total - begin), config_.final_softcap);
  });
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config,
                                                  const ModelWeights& weights,
                                                  const CpuOptions& options) {
  SPLITD_ASSIGN(CpuWeights own, CpuWeights::make(config, weights));
  if (options.panels != nullptr && !options.exact) {
    SPLITD_TRY(own.lay_out(*options.panels, options.progress));
  }
  return std::unique_ptr<Backend>(new CpuBackend(config, std::move(own), options));
}

}  // namespace splitd

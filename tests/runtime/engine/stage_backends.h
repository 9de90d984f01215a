// Backends for testing what a stage does with one: FakeBackend computes whole numbers that depend
// on every ancestor of a row and their order, so a wrong slot, a missing row or a stale value
// shows; HookedBackend passes everything on to another one and lets a test act between two layers;
// BulkBackend computes bulk chunks otherwise than other rows.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_kv.h"

namespace splitd {

class FakeBackend final : public Backend {
 public:
  static constexpr uint32_t kModulus = 65521;  // sums of products stay exact, and fit a float

  explicit FakeBackend(const std::vector<uint64_t>& windows, uint32_t first_layer = 0) {
    config_.d_model = 2;
    config_.n_layer = static_cast<uint32_t>(windows.size()) + first_layer;
    config_.n_vocab = 256;
    config_.layers.resize(first_layer);
    for (const uint64_t window : windows) config_.layers.push_back({.window = window});
    range_ = {first_layer, config_.n_layer};
  }

  // A row whose first column is `value` when it enters `layer` leaves it as NaN.
  void spoil(uint32_t layer, float value) { spoilt_ = {layer, value}; }

  const ModelConfig& config() const override { return config_; }
  LayerRange layers() const override { return range_; }
  std::string arith() const override { return "fake"; }
  uint64_t kv_bytes(const KvShape& shape) const override { return shape.n_ctx; }

  Result<std::unique_ptr<Kv>> make_kv(const KvShape& shape) override {
    auto kv = std::make_unique<FakeKv>();
    for (const LayerConfig& layer : config_.layers) {
      // No slot more than promised (DESIGN §3), so that a rewind too far meets other rows' values.
      const uint64_t most = layer.window + shape.max_pending + kWindowSlack;
      const uint64_t ring = layer.window == 0 ? shape.n_ctx : std::min<uint64_t>(most, shape.n_ctx);
      kv->layers.push_back({{static_cast<uint32_t>(ring), shape.n_ctx},
                            std::vector<uint32_t>(ring + shape.max_pending, 7)});
    }
    return std::unique_ptr<Kv>(std::move(kv));
  }

  void move_rows(Kv& kv, std::span<const SlotMove> moves) override {
    for (Layer& layer : static_cast<FakeKv&>(kv).layers) {
      for (const SlotMove& m : moves)
        layer.values[layer.map(m.to)] = layer.values[layer.map(m.from)];
    }
  }

  bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override {
    for (uint32_t l = range.begin; l < range.end; ++l) {
      if (!go_on()) return false;
      for (size_t i = 0; i < rows.size(); ++i) {
        Layer& layer = static_cast<FakeKv*>(rows[i].kv)->layers[l];
        layer.values[layer.map(rows[i].slot)] = whole(hidden[2 * i] + hidden[2 * i + 1]);
      }
      for (size_t i = 0; i < rows.size(); ++i) attend(rows[i], l, hidden + 2 * i);
    }
    return true;
  }

  void embed(std::span<const uint32_t> ids, float* hidden) override {
    for (size_t i = 0; i < ids.size(); ++i) {
      hidden[2 * i] = static_cast<float>(ids[i]);
      hidden[2 * i + 1] = static_cast<float>(ids[i] * 7 % 31);
    }
  }
  void norm(std::span<const float>, float*) override {}
  void project(std::span<const float>, float*) override {}
  uint32_t max_rows() const override { return 64; }

 private:
  struct Layer {
    SlotMap map;
    std::vector<uint32_t> values;  // by slot
  };
  struct FakeKv final : Kv {
    uint64_t bytes() const override { return 0; }
    std::vector<Layer> layers;
  };

  static uint32_t whole(float value) {
    return std::isnan(value) ? 1 : static_cast<uint32_t>(value) % kModulus;
  }

  void attend(const BatchRow& row, uint32_t l, float* hidden) const {
    const Layer& layer = static_cast<FakeKv*>(row.kv)->layers[l];
    const uint64_t window = config_.layers[l].window;
    const auto lo =
        window == 0 || row.position < window ? 0 : static_cast<uint32_t>(row.position - window + 1);
    uint32_t sum = row.position + 7 * l;
    for (uint32_t p = lo; p <= row.position; ++p) {
      const uint32_t slot = p < row.n_committed ? p : row.path[p - row.n_committed];
      sum = (sum * 31 + layer.values[layer.map(slot)]) % kModulus;
    }
    const bool spoilt = (l == spoilt_.layer && hidden[0] == spoilt_.value) || std::isnan(hidden[1]);
    hidden[0] = static_cast<float>((sum + whole(hidden[0]) * 17) % kModulus);
    hidden[1] = static_cast<float>((sum * 3 + whole(hidden[1])) % kModulus);
    if (spoilt) hidden[1] = std::numeric_limits<float>::quiet_NaN();
  }

  ModelConfig config_;
  LayerRange range_;
  struct {
    uint32_t layer = 0;
    float value = -1;
  } spoilt_;
};

class HookedBackend final : public Backend {
 public:
  explicit HookedBackend(Backend& inner, uint32_t max_rows = 0)
      : inner_(inner), max_rows_(max_rows != 0 ? max_rows : inner.max_rows()) {}

  std::function<void()> before_layer = [] {};
  std::vector<size_t> batches = {};  // rows of each forward
  size_t n_abandoned = 0;

  const ModelConfig& config() const override { return inner_.config(); }
  LayerRange layers() const override { return inner_.layers(); }
  std::string arith() const override { return inner_.arith(); }
  uint64_t kv_bytes(const KvShape& shape) const override { return inner_.kv_bytes(shape); }
  Result<std::unique_ptr<Kv>> make_kv(const KvShape& s) override { return inner_.make_kv(s); }
  void move_rows(Kv& kv, std::span<const SlotMove> m) override { inner_.move_rows(kv, m); }
  bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override {
    batches.push_back(rows.size());
    const bool completed = inner_.forward(rows, hidden, range, [&] {
      before_layer();
      return go_on();
    });
    n_abandoned += completed ? 0 : 1;
    return completed;
  }
  void embed(std::span<const uint32_t> ids, float* h) override { inner_.embed(ids, h); }
  void norm(std::span<const float> h, float* normed) override { inner_.norm(h, normed); }
  void project(std::span<const float> n, float* logits) override { inner_.project(n, logits); }
  Status fault() const override { return inner_.fault(); }
  uint32_t max_rows() const override { return max_rows_; }
  bool takes_bulk() const override { return inner_.takes_bulk(); }

 private:
  Backend& inner_;
  uint32_t max_rows_;
};

// Computes bulk chunks as another sum than by themselves, so that which rows were bulk shows in all
// that follows, and takes them as a GPU does: alone, whole and in order.
class BulkBackend : public Backend {
 public:
  explicit BulkBackend(Backend& inner) : inner_(inner) {}

  size_t n_bulk = 0;  // chunks

  const ModelConfig& config() const override { return inner_.config(); }
  LayerRange layers() const override { return inner_.layers(); }
  std::string arith() const override { return inner_.arith() + "+bulk"; }
  uint64_t kv_bytes(const KvShape& shape) const override { return inner_.kv_bytes(shape); }
  Result<std::unique_ptr<Kv>> make_kv(const KvShape& s) override { return inner_.make_kv(s); }
  void move_rows(Kv& kv, std::span<const SlotMove> m) override { inner_.move_rows(kv, m); }
  bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override {
    const bool bulk = rows[0].bulk && rows.size() == kBulkRows;
    if (bulk && range.begin == layers().begin) {
      ++n_bulk;
      const size_t n_value = rows.size() * config().d_model;
      for (size_t i = 0; i < n_value; ++i) hidden[i] *= 1.25f;
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].bulk, rows[0].bulk);
      if (!rows[i].bulk) continue;
      EXPECT_EQ(rows.size(), kBulkRows);
      EXPECT_EQ(rows[i].kv, rows[0].kv);
      EXPECT_EQ(rows[i].position % kBulkRows, i);
    }
    return inner_.forward(rows, hidden, range, go_on);
  }
  void embed(std::span<const uint32_t> ids, float* h) override { inner_.embed(ids, h); }
  void norm(std::span<const float> h, float* normed) override { inner_.norm(h, normed); }
  void project(std::span<const float> n, float* logits) override { inner_.project(n, logits); }
  uint32_t max_rows() const override { return std::max(kBulkRows, inner_.max_rows()); }
  bool takes_bulk() const override { return true; }

 private:
  Backend& inner_;
};

// All rows of a chain of tokens, each (d_model), computed alone in a fresh session.
inline std::vector<float> recompute(Backend& backend, const std::vector<uint32_t>& tokens,
                                    KvType type = KvType::f32) {
  const size_t d = backend.config().d_model;
  std::vector<float> hidden(tokens.size() * d);
  backend.embed(tokens, hidden.data());
  auto n_ctx = static_cast<uint32_t>(tokens.size());
  const std::unique_ptr<Kv> kv = std::move(*backend.make_kv({n_ctx, 0, type}));
  std::vector<BatchRow> rows;
  for (uint32_t i = 0; i < n_ctx; ++i) rows.push_back({kv.get(), i, i, i + 1, nullptr});
  for (size_t at = 0; at < rows.size(); at += backend.max_rows()) {
    const size_t n = std::min<size_t>(backend.max_rows(), rows.size() - at);
    backend.forward(std::span(rows).subspan(at, n), hidden.data() + at * d, backend.layers(),
                    [] { return true; });
  }
  return hidden;
}

}  // namespace splitd

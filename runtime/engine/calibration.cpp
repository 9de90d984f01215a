// One backend per layer, made and dropped, and an observer of its products.
#include "runtime/engine/calibration.h"

#include <algorithm>

namespace splitd {
Result<std::unique_ptr<Calibration>> Calibration::start(const ModelFiles& model,
                                                        const CpuOptions& options,
                                                        const std::vector<uint32_t>& ids) {
  std::unique_ptr<Calibration> out(new Calibration(model, options));
  SPLITD_ASSIGN(const ModelWeights weights, model.weights({0, 0}, true, false));
  SPLITD_ASSIGN(const std::unique_ptr<Backend> backend,
                make_cpu_backend(model.config(), weights, options));
  out->hidden_.resize(ids.size() * model.config().d_model);
  backend->embed(ids, out->hidden_.data());
  return out;
}

std::optional<Calibration::Site> Calibration::site_of(Slot slot) {
  switch (slot) {
    case Slot::q:
    case Slot::k:
    case Slot::v:
    case Slot::qkv:
      return attention;
    case Slot::o:
      return attention_out;
    case Slot::gate:
    case Slot::up:
    case Slot::gate_up:
    case Slot::expert_gate:  // as if every row went to every expert
    case Slot::expert_up:
      return feed_forward;
    case Slot::down:
      return down;
    case Slot::head:
    case Slot::embedding:  // where it is the head too
      return head;
    default:
      return std::nullopt;
  }
}

Result<const Feedback*> Calibration::feedback(const TensorSpec& spec) {
  const Feedback* nothing = nullptr;
  const ModelConfig& config = model_.config();
  const std::optional<Site> site = site_of(spec.slot);
  if (!site || (spec.slot == Slot::embedding && !config.tied)) return nothing;
  const uint32_t layer = *site == head ? config.n_layer : spec.layer;
  if (layer + 1 < next_) return nothing;
  while (next_ <= layer) SPLITD_TRY(run_layer(next_, next_ == layer));
  std::optional<Feedback>& made = feedback_[*site];
  if (!made && moments_[*site]) {
    made.emplace(*moments_[*site], options_.pool->n_thread());
    moments_[*site].reset();
  }
  return made ? &*made : nullptr;
}

Status Calibration::run_layer(uint32_t layer, bool observe) {
  for (size_t site = 0; site < kSites; ++site) {
    moments_[site].reset();
    feedback_[site].reset();
  }
  if (layer == model_.config().n_layer) return run_head();
  SPLITD_ASSIGN(const ModelWeights weights, model_.weights({layer, layer + 1}, false, false));
  CpuOptions options = options_;
  if (observe) {
    options.observe = [&](const CpuRows& rows, std::span<const CpuProduct> products) {
      this->observe(weights.layers[0], rows, *products[0].w);
    };
  }
  SPLITD_ASSIGN(const std::unique_ptr<Backend> backend,
                make_cpu_backend(model_.config(), weights, options));
  model_.advise_layer(layer, MappedFile::Advice::will_need);
  SPLITD_TRY(run_windows(*backend, layer));
  model_.advise_layer(layer, MappedFile::Advice::dont_need);
  ++next_;
  return {};
}

// What enters the head, which stands behind the last layer.
Status Calibration::run_head() {
  const uint32_t n_layer = model_.config().n_layer, d = model_.config().d_model;
  SPLITD_ASSIGN(const ModelWeights weights, model_.weights({n_layer, n_layer}, false, false));
  SPLITD_ASSIGN(const std::unique_ptr<Backend> backend,
                make_cpu_backend(model_.config(), weights, options_));
  ++next_;
  if (d % kQuantGroup != 0) return {};
  std::vector<float> normed(hidden_.size());
  backend->norm(hidden_, normed.data());
  moments_[head].emplace(d);
  moments_[head]->add(normed.data(), d, nullptr, normed.size() / d, options_.pool->n_thread());
  return {};
}

Status Calibration::run_windows(Backend& backend, uint32_t layer) {
  const size_t d = model_.config().d_model, n_row = hidden_.size() / d;
  SPLITD_ASSIGN(
      const std::unique_ptr<Kv> kv,
      backend.make_kv({.n_ctx = kCalibrationWindow, .max_pending = 0, .type = KvType::f32}));
  std::vector<BatchRow> rows;
  for (size_t begin = 0; begin < n_row;) {
    // A window begins anew; what it writes takes the place of the one before.
    const size_t in_window = begin % kCalibrationWindow;
    const size_t end =
        std::min({n_row, begin + backend.max_rows(), begin - in_window + kCalibrationWindow});
    rows.clear();
    for (size_t row = begin; row < end; ++row) {
      const auto position = static_cast<uint32_t>(row % kCalibrationWindow);
      rows.push_back({.kv = kv.get(),
                      .position = position,
                      .slot = position,
                      .n_committed = position + 1,
                      .path = nullptr});
    }
    backend.forward(rows, hidden_.data() + begin * d, {layer, layer + 1}, [] { return true; });
    begin = end;
  }
  return {};
}

// The first matrix of a call says where its rows come from.
void Calibration::observe(const LayerWeights& weights, const CpuRows& rows,
                          const CpuMatrix& matrix) {
  const auto is = [&](const TensorView& view) {
    return view.data != nullptr && view.data == matrix.data;
  };
  std::optional<Site> site;
  if (is(weights.q) || is(weights.qkv)) site = attention;
  if (is(weights.o)) site = attention_out;
  if (is(weights.gate) || is(weights.gate_up) || is(weights.router)) site = feed_forward;
  if (is(weights.down)) site = down;
  if (!site || matrix.k % kQuantGroup != 0) return;
  std::optional<InputMoments>& moments = moments_[*site];
  if (!moments) moments.emplace(matrix.k);
  moments->add(rows.a, rows.a_stride, rows.rows, rows.m, options_.pool->n_thread());
}

}  // namespace splitd

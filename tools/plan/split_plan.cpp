#include "tools/plan/split_plan.h"

#include <algorithm>

#include "kernels/quantised.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/weight_type.h"
#include "runtime/model/convert_plan.h"
#include "tools/generate/text_model.h"

namespace splitd::cli {
namespace {

constexpr uint64_t kPage = 4096;
// What a process needs beside weights and KV: two backends' activations, and the rest of it.
constexpr uint64_t kActivations = uint64_t{2} * (24u << 20);
constexpr uint64_t kProgram = uint64_t{24} << 20;
constexpr uint64_t kTokenBytes = 128;  // of a tokenizer in memory, by token of the vocabulary

uint64_t count_of(const Shape& shape) {
  uint64_t count = 1;
  for (const uint64_t extent : shape) count *= extent;
  return count;
}

// Bytes of a tensor of the schema, in the type that it has or gets.
class Sizes {
 public:
  Sizes(const Inspection& inspection, std::optional<DType> to)
      : config_(*inspection.config()), model_(inspection.model()), to_(to) {}

  uint64_t of(const TensorSpec& spec) const {
    const std::optional<StoredRows> rows =
        model_ != nullptr ? model_->find(spec) : std::optional<StoredRows>();
    DType dtype = config_.dtype.value_or(DType::bf16);
    if (rows) dtype = rows->tensor->dtype;
    if (to_) {
      const bool blocks = dtype_info(dtype).block_values > 1;
      dtype = quantised_type(config_, spec, *to_).value_or(blocks ? DType::bf16 : dtype);
    }
    const Result<kernels::WeightType> type = weight_type(dtype);
    const bool used = spec.slot != Slot::embedding || config_.tied;  // multiplied by
    if (type && used && spec.shape.size() == 2) {
      // As the CPU lays it out, which can take some more than the file.
      return kernels::panel_bytes(*type, spec.shape[0], spec.shape[1]);
    }
    const DTypeInfo& info = dtype_info(dtype);
    return count_of(spec.shape) / info.block_values * info.block_bytes;
  }

 private:
  const ModelConfig& config_;
  const ModelFiles* model_;
  std::optional<DType> to_;
};

LayerRange body_range(const ModelConfig& config, uint32_t head, uint32_t tail) {
  return {head, config.n_layer - tail};
}

}  // namespace

PartBytes& PartBytes::operator+=(const PartBytes& other) {
  all += other.all;
  token += other.token;
  return *this;
}

PartBytes ModelBytes::range(LayerRange wanted) const {
  PartBytes sum;
  for (uint32_t i = wanted.begin; i < wanted.end; ++i) sum += layers[i];
  return sum;
}

uint64_t ModelBytes::total() const {
  const LayerRange whole{0, static_cast<uint32_t>(layers.size())};
  return range(whole).all + table + (tied ? 0 : head) + norm;
}

ModelBytes model_bytes(const Inspection& inspection, std::optional<DType> to) {
  const ModelConfig& config = *inspection.config();
  const Sizes sizes(inspection, to);
  ModelBytes out;
  out.dtype = !to ? "stored" : *to == DType::q8 ? "q8" : "q4";
  for (uint32_t i = 0; i < config.n_layer; ++i) {
    PartBytes layer;
    for (const TensorSpec& spec : layer_schema(config, i)) {
      const uint64_t bytes = sizes.of(spec);
      layer.all += bytes;
      if (!is_expert(spec.slot) || spec.expert < config.n_expert_used) layer.token += bytes;
    }
    out.layers.push_back(layer);
  }
  const Shape table = {config.n_vocab, config.d_model};
  out.tied = config.tied;
  out.table = sizes.of({Slot::embedding, 0, 0, table});
  out.table_row = out.table / config.n_vocab;
  out.head = config.tied ? out.table : sizes.of({Slot::head, 0, 0, table});
  out.norm = sizes.of({Slot::final_norm, 0, 0, {config.d_model}});
  return out;
}

DeviceCost device_cost(const ModelConfig& config, const ModelBytes& bytes,
                       const PlanOptions& options, uint32_t head, uint32_t tail) {
  const LayerRange body = body_range(config, head, tail);
  const LayerRange ends[] = {{0, body.begin}, {body.end, config.n_layer}};
  const KvShape shape{options.n_ctx, TextModel::kMaxPending, options.kv};
  PartBytes layers;
  DeviceCost cost;
  for (const LayerRange& end : ends) {
    layers += bytes.range(end);
    cost.kv += CpuKv::bytes_for(config, end, shape);
    cost.token_kv += CpuKv::read_bytes(config, end, options.kv, options.n_ctx - 1);
  }
  cost.weights = layers.all + bytes.head + bytes.norm;
  cost.token_weights = layers.token + bytes.head + bytes.norm;
  if (!bytes.tied) {
    const uint64_t row_pages = (bytes.table_row + 2 * kPage - 2) / kPage * kPage;
    cost.embedding = std::min(bytes.table, options.n_ctx * row_pages);
    cost.token_weights += bytes.table_row;
  }
  cost.work = kActivations + kProgram + kTokenBytes * config.n_vocab +
              uint64_t{TextModel::kMostStepRows} * config.n_vocab * sizeof(float);
  return cost;
}

uint64_t wire_row_bytes(kernels::WireType type, uint32_t d_model) {
  return kernels::wire_data_bytes(type, d_model) + (kernels::wire_has_exponents(type) ? 1 : 0);
}

namespace {

// The most layers that fit, the first ones one more than the last ones where they are odd.
SplitChoice choose(const ModelConfig& config, const ModelBytes& bytes, const ModelBytes& stored,
                   const PlanOptions& options) {
  SplitChoice out;
  out.dtype = bytes.dtype;
  const auto take = [&](uint32_t head, uint32_t tail) {
    out.head = head;
    out.tail = tail;
    out.device = device_cost(config, bytes, options, head, tail);
    out.fits = out.device.total() <= options.memory;
    return out.fits;
  };
  if (options.head || options.tail) {
    take(options.head.value_or(0), options.tail.value_or(0));
  } else {
    for (uint32_t n = config.n_layer + 1; n-- > 0 && !take(n - n / 2, n / 2);) continue;
  }
  out.body.layers = body_range(config, out.head, out.tail);
  out.whole = out.body.layers.begin == out.body.layers.end;
  const PartBytes body = stored.range(out.body.layers);
  out.body.weights = body.all;
  out.body.token_weights = body.token;
  out.body.kv = CpuKv::bytes_for(config, out.body.layers,
                                 {options.n_ctx, TextModel::kMaxPending, options.kv});
  return out;
}

}  // namespace

Result<SplitPlan> plan_split(const Inspection& inspection, const PlanOptions& options) {
  const ModelConfig& config = *inspection.config();
  if (options.n_ctx > config.n_ctx) {
    return usage_error("--ctx: " + std::to_string(options.n_ctx) + "; the model was made for " +
                       std::to_string(config.n_ctx));
  }
  const uint64_t ends = uint64_t{options.head.value_or(0)} + options.tail.value_or(0);
  if (ends > config.n_layer) {
    return usage_error("--head and --tail: " + std::to_string(ends) + " layers; the model has " +
                       std::to_string(config.n_layer));
  }
  SplitPlan plan;
  plan.options = options;
  plan.d_model = config.d_model;
  const ModelBytes stored = model_bytes(inspection);
  std::vector<ModelBytes> ways = {stored};
  for (const DType to : {DType::q8, DType::q4}) {
    ModelBytes way = model_bytes(inspection, to);
    if (way.total() < ways.back().total()) ways.push_back(std::move(way));
  }
  for (const ModelBytes& way : ways) plan.choices.push_back(choose(config, way, stored, options));
  const auto first = [&](auto wanted) -> std::optional<size_t> {
    const auto at = std::find_if(plan.choices.begin(), plan.choices.end(), wanted);
    if (at == plan.choices.end()) return std::nullopt;
    return static_cast<size_t>(at - plan.choices.begin());
  };
  plan.best = first([](const SplitChoice& c) { return c.fits && c.head > 0 && c.tail > 0; });
  if (!plan.best) plan.best = first([](const SplitChoice& c) { return c.fits; });
  return plan;
}

}  // namespace splitd::cli

// GGUF and directories → items, and items → files.
#include "runtime/model/convert_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/model/convert.h"
#include "runtime/model/formats/dequantize.h"

namespace splitd {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

bool is_wanted(const TensorSpec& spec, const ConvertOptions& options) {
  if (!options.layers || is_norm(spec.slot)) return true;
  return !is_whole_model(spec.slot) && spec.layer >= options.layers->begin &&
         spec.layer < options.layers->end;
}

// What the rows of a source become. `spec`: nothing for a tensor that is none of the text model's.
DType target_of(const ModelFiles& model, const std::optional<TensorSpec>& spec, DType stored,
                DType wanted) {
  if (!is_own_quantised(wanted)) {
    return is_float(stored) || can_dequantize(stored) || is_own_quantised(stored) ? wanted : stored;
  }
  if (spec) {
    if (const auto own = quantised_type(model.config(), *spec, wanted)) return *own;
  }
  return can_dequantize(stored) && !is_float(stored) ? DType::bf16 : stored;
}

ConvertItem make_item(std::string name, DType to, Shape shape, RowSource source,
                      std::optional<TensorSpec> spec) {
  ConvertItem item;
  item.to = to;
  item.source = source;
  item.spec = std::move(spec);
  item.output.name = std::string(without_quantised_suffix(name));
  item.output.dtype = to;
  item.output.bytes = *tensor_bytes(to, shape);
  item.output.shape = std::move(shape);
  if (is_own_quantised(to)) {
    item.output.name += quantised_suffix(to);
    item.output.dtype = DType::u8;
    item.output.shape.back() = quantised_row_bytes(to, item.output.shape.back());
  }
  return item;
}

// Every tensor of the schema under the name that transformers gives it.
std::vector<ConvertItem> plan_gguf(const ModelFiles& model, const ConvertOptions& options) {
  const ModelConfig& config = model.config();
  std::vector<ConvertItem> items;
  for (const TensorSpec& spec : model_schema(config)) {
    if (!is_wanted(spec, options)) continue;
    const StoredRows rows = *model.find(spec);
    RowSource source{.tensor = rows.tensor, .first_row = rows.first_row, .n_rows = rows.n_rows};
    const bool q_or_k = spec.slot == Slot::q || spec.slot == Slot::k || spec.slot == Slot::q_bias ||
                        spec.slot == Slot::k_bias;
    if (q_or_k && config.family == "llama") source.interleaved_head = config.d_head;
    source.one_added = is_norm(spec.slot) && config.norm_plus_one;
    const DType to = target_of(model, spec, rows.tensor->dtype, options.dtype);
    items.push_back(make_item(hf_name(spec, config), to, spec.shape, source, spec));
  }
  return items;
}

// The tensors that a directory holds, under the names they have.
std::vector<ConvertItem> plan_directory(const ModelFiles& model, const ConvertOptions& options) {
  const std::vector<TensorInfo>& tensors = model.files().tensors();
  std::vector<bool> unwanted(tensors.size(), options.layers.has_value());
  std::vector<std::optional<TensorSpec>> specs(tensors.size());  // experts: of the first
  const auto look_up = [&](const TensorSpec& spec) {
    const std::optional<StoredRows> rows = model.find(spec);
    if (!rows) return;
    const auto index = static_cast<size_t>(rows->tensor - tensors.data());
    if (!specs[index]) specs[index] = spec;
    if (is_wanted(spec, options)) unwanted[index] = false;
  };
  for (const TensorSpec& spec : model_schema(model.config())) look_up(spec);
  // A head may be stored though it is tied.
  if (model.config().tied) {
    look_up({Slot::head, 0, 0, {model.config().n_vocab, model.config().d_model}});
  }
  std::vector<ConvertItem> items;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (unwanted[i]) continue;
    const TensorInfo& tensor = tensors[i];
    uint64_t n_rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) n_rows *= tensor.shape[d];
    const DType to = target_of(model, specs[i], tensor.dtype, options.dtype);
    items.push_back(make_item(tensor.name, to, tensor.shape,
                              {.tensor = &tensor, .first_row = 0, .n_rows = n_rows}, specs[i]));
  }
  return items;
}

// Consecutive items that fit one file; a tensor larger than that has a file of its own.
std::vector<ConvertShard> split_shards(const std::vector<ConvertItem>& items, uint64_t max_bytes) {
  std::vector<ConvertShard> shards(1);
  for (size_t i = 0; i < items.size(); ++i) {
    const uint64_t bytes = items[i].output.bytes;
    if (i > shards.back().begin && shards.back().bytes + bytes > max_bytes) {
      shards.push_back({.name = {}, .begin = i, .end = i, .bytes = 0});
    }
    shards.back().end = i + 1;
    shards.back().bytes += bytes;
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    char text[64] = "model.safetensors";
    if (shards.size() > 1) {
      std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    }
    shards[i].name = text;
  }
  return shards;
}

// Embedding, layers by number, the rest: what a part of the model needs lies together.
void order_by_layer(std::vector<ConvertItem>& items, bool tied) {
  const auto key = [&](const ConvertItem& item) -> uint64_t {
    if (!item.spec) return UINT64_MAX;
    if (item.spec->slot == Slot::embedding && !tied) return 0;  // else it is the head
    if (is_whole_model(item.spec->slot)) return UINT64_MAX - 1;
    return uint64_t{item.spec->layer} + 1;
  };
  std::stable_sort(items.begin(), items.end(),
                   [&](const ConvertItem& a, const ConvertItem& b) { return key(a) < key(b); });
}

}  // namespace

// What 4 bits cost most, for what it weighs: k and v, which many query heads share, and in small
// models, which have nothing to spare, all that carries values rather than weighs or gates them.
static bool is_sensitive(const ModelConfig& config, Slot slot) {
  constexpr uint32_t kSmall = 1024;  // d_model
  switch (slot) {
    case Slot::k:
    case Slot::v:
      return true;
    case Slot::qkv:
    case Slot::o:
    case Slot::up:
    case Slot::gate_up:
      return config.d_model < kSmall;
    default:
      return false;
  }
}

std::optional<DType> quantised_type(const ModelConfig& config, const TensorSpec& spec, DType to) {
  if (!can_be_quantised(config, spec)) return std::nullopt;
  if (spec.slot == Slot::embedding || spec.slot == Slot::head) return DType::q8;
  return is_sensitive(config, spec.slot) ? DType::q8 : to;
}

ConvertPlan plan_conversion(const ModelFiles& model, const ConvertOptions& options) {
  ConvertPlan plan;
  plan.items = model.gguf() != nullptr ? plan_gguf(model, options) : plan_directory(model, options);
  if (is_own_quantised(options.dtype)) order_by_layer(plan.items, model.config().tied);
  plan.shards = split_shards(plan.items, options.max_shard_bytes);
  for (const ConvertShard& shard : plan.shards) {
    plan.bytes += shard.bytes;
    if (!is_own_quantised(options.dtype)) continue;
    const auto begin = plan.items.begin() + static_cast<std::ptrdiff_t>(shard.begin);
    const auto end = plan.items.begin() + static_cast<std::ptrdiff_t>(shard.end);
    // While only multiples of 64 bytes came before, a tensor begins at one.
    std::stable_partition(begin, end, [](const ConvertItem& item) {
      return is_own_quantised(item.to) && item.output.bytes % 64 == 0;
    });
  }
  return plan;
}

}  // namespace splitd

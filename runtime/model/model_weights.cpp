// ModelFiles → the views that an engine works with.
#include <cstring>

#include "runtime/model/formats/dequantize.h"
#include "runtime/model/formats/quantised.h"
#include "runtime/model/model_files.h"

namespace splitd {
namespace {

TensorView* view_of(LayerWeights& layer, const TensorSpec& spec) {
  switch (spec.slot) {
    case Slot::attn_norm:
      return &layer.attn_norm;
    case Slot::q:
      return &layer.q;
    case Slot::k:
      return &layer.k;
    case Slot::v:
      return &layer.v;
    case Slot::qkv:
      return &layer.qkv;
    case Slot::q_bias:
      return &layer.q_bias;
    case Slot::k_bias:
      return &layer.k_bias;
    case Slot::v_bias:
      return &layer.v_bias;
    case Slot::q_norm:
      return &layer.q_norm;
    case Slot::k_norm:
      return &layer.k_norm;
    case Slot::o:
      return &layer.o;
    case Slot::o_bias:
      return &layer.o_bias;
    case Slot::attn_post_norm:
      return &layer.attn_post_norm;
    case Slot::mlp_norm:
      return &layer.mlp_norm;
    case Slot::gate:
      return &layer.gate;
    case Slot::up:
      return &layer.up;
    case Slot::gate_up:
      return &layer.gate_up;
    case Slot::down:
      return &layer.down;
    case Slot::gate_bias:
      return &layer.gate_bias;
    case Slot::up_bias:
      return &layer.up_bias;
    case Slot::down_bias:
      return &layer.down_bias;
    case Slot::mlp_post_norm:
      return &layer.mlp_post_norm;
    case Slot::router:
      return &layer.router;
    case Slot::expert_gate:
      return &layer.experts[spec.expert].gate;
    case Slot::expert_up:
      return &layer.experts[spec.expert].up;
    case Slot::expert_down:
      return &layer.experts[spec.expert].down;
    case Slot::embedding:
    case Slot::final_norm:
    case Slot::head:
      break;
  }
  return nullptr;
}

Status check_computable(const TensorView& view, const std::string& name) {
  if (can_dequantize(view.dtype) || is_own_quantised(view.dtype)) return {};
  return model_error("tensor " + quoted_name(name) + " is " + std::string(dtype_name(view.dtype)) +
                     ", which cannot be computed with as it is; `splitd convert` makes a directory "
                     "of BF16, F16 or F32 of it");
}

}  // namespace

Result<ModelWeights> ModelFiles::weights(LayerRange range, bool embedding, bool head) const {
  if (range.begin > range.end || range.end > config_.n_layer) {
    return usage_error("layers " + std::to_string(range.begin) + ":" + std::to_string(range.end) +
                       " do not exist; the model has " + std::to_string(config_.n_layer));
  }
  const auto absent = [&](const std::string& what) {
    return model_error(path_ + ": " + what + " is not in this directory, which holds " +
                       parts_text());
  };
  ModelWeights out;
  out.range = range;
  out.qk_interleaved = gguf_ && config_.family == "llama";
  out.norm_one_added = gguf_ && config_.norm_plus_one;
  const auto take = [&](const TensorSpec& spec, TensorView& view) -> Status {
    const std::optional<StoredRows> rows = find(spec);
    if (!rows) return absent("tensor " + quoted_name(stored_name(spec)));
    view = this->view(*rows, out.shapes_of_rows);
    return check_computable(view, rows->tensor->name);
  };
  // Consecutive rows of `from`: q, k, v of qkv, gate and up of gate_up.
  const auto slice = [&](const TensorView& from, uint64_t first_row, uint64_t n_rows) {
    const uint64_t row_bytes = from.bytes / from.shape[0];
    out.shapes_of_rows.push_back({n_rows, from.shape[1]});
    return TensorView{from.data + first_row * row_bytes, from.dtype, out.shapes_of_rows.back(),
                      n_rows * row_bytes};
  };

  for (uint32_t index = range.begin; index < range.end; ++index) {
    if (!has_layer_[index]) return absent("layer " + std::to_string(index));
    LayerWeights layer;
    if (config_.layers[index].moe) layer.experts.resize(config_.n_expert);
    for (const TensorSpec& spec : layer_schema(config_, index)) {
      SPLITD_TRY(take(spec, *view_of(layer, spec)));
    }
    if (layer.qkv.data != nullptr) {
      const uint64_t n_q = uint64_t{config_.n_head} * config_.d_head;
      const uint64_t n_kv = uint64_t{config_.n_kv_head} * config_.d_head;
      layer.q = slice(layer.qkv, 0, n_q);
      layer.k = slice(layer.qkv, n_q, n_kv);
      layer.v = slice(layer.qkv, n_q + n_kv, n_kv);
    }
    if (layer.gate_up.data != nullptr) {
      layer.gate = slice(layer.gate_up, 0, config_.d_ff);
      layer.up = slice(layer.gate_up, config_.d_ff, config_.d_ff);
    }
    out.layers.push_back(std::move(layer));
  }
  const Shape table = {config_.n_vocab, config_.d_model};
  SPLITD_TRY(take({Slot::final_norm, 0, 0, {config_.d_model}}, out.norm));
  if (embedding && !has_embedding_) return absent("the embedding");
  if (head && !has_head_) return absent("the head");
  return take_tables(embedding, head, std::move(out));
}

// When tied, either name may hold the one table; where both do, they have to be the same.
Result<ModelWeights> ModelFiles::take_tables(bool embedding, bool head, ModelWeights out) const {
  const Shape table = {config_.n_vocab, config_.d_model};
  const std::optional<StoredRows> embed = find({Slot::embedding, 0, 0, table});
  const std::optional<StoredRows> output = find({Slot::head, 0, 0, table});
  const StoredRows first = embed ? *embed : output.value_or(StoredRows{});
  if (embedding) {
    out.embed = view(first, out.shapes_of_rows);
    SPLITD_TRY(check_computable(out.embed, first.tensor->name));
  }
  if (!head) return out;
  const StoredRows second = config_.tied ? first : *output;
  out.head = view(second, out.shapes_of_rows);
  SPLITD_TRY(check_computable(out.head, second.tensor->name));
  if (!config_.tied || !embed || !output) return out;
  const TensorView other = view(*output, out.shapes_of_rows);
  if (other.dtype != out.head.dtype || std::memcmp(other.data, out.head.data, other.bytes) != 0) {
    return model_error(file_of(*output->tensor) + ": tensor " + quoted_name(output->tensor->name) +
                       " differs from " + quoted_name(embed->tensor->name) +
                       ", but the config ties them; accepted: the same numbers, or "
                       "tie_word_embeddings false in config.json");
  }
  files().advise(*output->tensor, MappedFile::Advice::dont_need);
  return out;
}

}  // namespace splitd

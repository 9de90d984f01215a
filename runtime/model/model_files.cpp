// Opening a model and checking its tensors against its config.
#include "runtime/model/model_files.h"

#include <fcntl.h>

#include <algorithm>

#include "runtime/base/files.h"
#include "runtime/model/config_gguf.h"
#include "runtime/model/formats/dequantize.h"
#include "runtime/model/formats/quantised.h"

namespace splitd {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

Result<std::optional<JsonDoc>> read_json(const std::string& path) {
  if (!path_exists(path)) return std::optional<JsonDoc>();
  SPLITD_ASSIGN(std::string text, read_file(path, kMaxConfigBytes));
  Result<JsonDoc> doc = JsonDoc::parse(std::move(text));
  if (!doc) return model_error(path + ": " + doc.error().message);
  return std::optional<JsonDoc>(std::move(*doc));
}

// Buffers that old checkpoints hold beside the weights and that follow from the config.
bool is_known_buffer(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq");
}

uint64_t row_count(std::span<const uint64_t> shape) {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

// "0-3, 7 and 28-31"
std::string ranges_text(const std::vector<bool>& set) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < set.size();) {
    size_t end = i;
    while (end < set.size() && set[end]) ++end;
    if (end > i + 1) parts.push_back(std::to_string(i) + "-" + std::to_string(end - 1));
    if (end == i + 1) parts.push_back(std::to_string(i));
    i = std::max(end, i + 1);
  }
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += i + 1 == parts.size() ? " and " : ", ";
    out += parts[i];
  }
  return out;
}

}  // namespace

Result<ModelConfig> read_model_config(const std::string& directory) {
  const std::string path = directory + "/config.json";
  SPLITD_ASSIGN(const std::optional<JsonDoc> doc, read_json(path));
  if (!doc) {
    return model_error(directory +
                       " has no config.json; accepted: a Hugging Face model directory or a .gguf "
                       "file");
  }
  Result<ModelConfig> config = parse_config(doc->root());
  if (!config) return config.take_error().within(path);
  const std::string generation = directory + "/generation_config.json";
  SPLITD_ASSIGN(const std::optional<JsonDoc> more, read_json(generation));
  if (more) {
    Status added = add_generation_config(*config, more->root());
    if (!added) return added.take_error().within(generation);
  }
  return config;
}

bool is_gguf(const std::string& path) {
  if (path.ends_with(".gguf")) return true;
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return false;
  const Result<MappedFile> mapped = MappedFile::map(file, path, FileAccess::read, 4);
  return mapped.ok() && mapped->text().starts_with("GGUF");
}

Result<ModelFiles> ModelFiles::open(const std::string& path, FileAccess access) {
  if (is_directory(path)) return open_directory(path, access);
  if (!path_exists(path)) return model_error(path + " does not exist");
  if (is_gguf(path)) return open_gguf(path, access);
  return model_error(path +
                     " is no model; accepted: a Hugging Face model directory or a .gguf file");
}

Result<ModelFiles> ModelFiles::open_directory(const std::string& path, FileAccess access) {
  ModelFiles model;
  model.path_ = path;
  SPLITD_ASSIGN(model.config_, read_model_config(path));
  SPLITD_ASSIGN(model.tensors_, TensorFiles::open_safetensors(path, access));
  if (path_exists(path + "/tokenizer.json")) model.tokenizer_path_ = path;
  model.find_naming();
  SPLITD_TRY(model.find_quantised());
  SPLITD_TRY(model.check_tensors());
  if (!model.config_.dtype) {
    // As transformers: what the file holds. The final norm is in every part of the model.
    set_dtype(model.config_, model.find({Slot::final_norm, 0, 0, {}})->tensor->dtype);
  }
  return model;
}

Result<ModelFiles> ModelFiles::open_gguf(const std::string& path, FileAccess access) {
  ModelFiles model;
  model.path_ = path;
  SPLITD_ASSIGN(model.gguf_, Gguf::open(path, access));
  Result<ModelConfig> config = read_gguf_config(*model.gguf_);
  if (!config) return config.take_error().within(path);
  model.config_ = std::move(*config);
  if (model.gguf_->find("tokenizer.ggml.model")) model.tokenizer_path_ = path;
  SPLITD_TRY(model.check_tensors());
  return model;
}

const std::string& ModelFiles::file_of(const TensorInfo& tensor) const {
  return files().files()[tensor.file].path();
}

void ModelFiles::find_naming() {
  // The final norm tells: every directory holds it. Text models first.
  for (const Naming& naming :
       {Naming{}, Naming{"language_model.model.", "language_model.lm_head.weight"},
        Naming{"model.language_model.", "lm_head.weight"},
        Naming{"language_model.", "lm_head.weight"}, Naming{"", "lm_head.weight"}}) {
    if (files().find(naming.model + "norm.weight") == nullptr) continue;
    naming_ = naming;
    return;
  }
}

std::string ModelFiles::stored_name(const TensorSpec& spec) const {
  if (gguf_) return gguf_name(spec);
  if (spec.slot == Slot::head) return naming_.head;
  constexpr std::string_view kPrefix = "model.";
  return naming_.model + hf_name(spec, config_).substr(kPrefix.size());
}

// Whether `tensor` holds all experts of the layer.
bool ModelFiles::is_stacked(const TensorSpec& spec, const TensorInfo& tensor) const {
  return is_expert(spec.slot) &&
         (gguf_ || without_quantised_suffix(tensor.name).ends_with("_proj"));
}

Shape ModelFiles::stored_shape(const TensorSpec& spec, const TensorInfo& tensor) const {
  if (!is_stacked(spec, tensor)) return spec.shape;
  Shape shape = spec.shape;
  if (!gguf_ && spec.slot != Slot::expert_down) shape[0] *= 2;  // gate and up
  shape.insert(shape.begin(), config_.n_expert);
  return shape;
}

// transformers 5 may store all experts of a layer as one tensor, gate before up in each.
std::string ModelFiles::stacked_name(const TensorSpec& spec) const {
  return naming_.model + "layers." + std::to_string(spec.layer) + ".mlp.experts." +
         (spec.slot == Slot::expert_down ? "down_proj" : "gate_up_proj");
}

// Under its own name, or as our quantised rows.
const TensorInfo* ModelFiles::find_stored(std::string_view name) const {
  const TensorInfo* tensor = files().find(name);
  if (tensor != nullptr || gguf_) return tensor;
  for (const DType dtype : {DType::q8, DType::q4}) {
    const TensorInfo* own = files().find(std::string(name).append(quantised_suffix(dtype)));
    if (own != nullptr && own->dtype == dtype) return own;
  }
  return nullptr;
}

// Matrices stored as quantised rows are U8 to the file; from here on they are what they mean.
Status ModelFiles::find_quantised() {
  const auto is_u8 = [](const TensorInfo& tensor) {
    return tensor.dtype == DType::u8 && quantised_by_name(tensor.name);
  };
  const std::vector<TensorInfo>& all = files().tensors();
  if (std::none_of(all.begin(), all.end(), is_u8)) return {};
  std::vector<TensorSpec> specs = model_schema(config_);
  // Tied or not: files may hold both tables.
  specs.push_back({Slot::head, 0, 0, {config_.n_vocab, config_.d_model}});
  for (const TensorSpec& spec : specs) {
    if (spec.shape.size() < 2) continue;
    SPLITD_TRY(read_quantised(spec, stored_name(spec)));
    if (is_expert(spec.slot) && spec.expert == 0) {
      SPLITD_TRY(read_quantised(spec, stacked_name(spec)));
    }
  }
  return {};
}

Status ModelFiles::read_quantised(const TensorSpec& spec, std::string_view name) {
  const TensorInfo* twin = files().find(name);
  for (const DType dtype : {DType::q8, DType::q4}) {
    const TensorInfo* tensor = files().find(std::string(name).append(quantised_suffix(dtype)));
    if (tensor == nullptr || tensor->dtype == dtype) continue;
    const std::string where = file_of(*tensor) + ": tensor " + quoted_name(tensor->name);
    if (twin != nullptr) {
      return model_error(where + " is there, and " + quoted_name(twin->name) +
                         " too; accepted: one of them");
    }
    const Shape meant = stored_shape(spec, *tensor);
    Shape expected = meant;
    if (!can_be_quantised(config_, spec)) {
      return model_error(where + " is " + shape_text(meant) + " by the config; what is quantised " +
                         "has rows of a multiple of 32 and is cut at multiples of 16 rows");
    }
    expected.back() = quantised_row_bytes(dtype, meant.back());
    if (tensor->dtype != DType::u8 || tensor->shape != expected) {
      return model_error(where + " is " + std::string(dtype_name(tensor->dtype)) + " of shape " +
                         shape_text(tensor->shape) + "; " + std::string(dtype_name(dtype)) +
                         " for " + shape_text(meant) + " are U8 of shape " + shape_text(expected));
    }
    tensors_->reinterpret(*tensor, dtype, meant);
    twin = tensor;
  }
  return {};
}

std::optional<StoredRows> ModelFiles::find(const TensorSpec& spec) const {
  const uint64_t n_rows = row_count(spec.shape);
  const TensorInfo* tensor = find_stored(stored_name(spec));
  if (tensor != nullptr) {
    return StoredRows{tensor, gguf_ && is_expert(spec.slot) ? spec.expert * n_rows : 0, n_rows};
  }
  if (gguf_ || !is_expert(spec.slot)) return std::nullopt;
  const bool down = spec.slot == Slot::expert_down;
  tensor = find_stored(stacked_name(spec));
  if (tensor == nullptr) return std::nullopt;
  const uint64_t each = down ? n_rows : 2 * n_rows;
  const uint64_t offset = spec.slot == Slot::expert_up ? n_rows : 0;
  return StoredRows{tensor, spec.expert * each + offset, n_rows};
}

Status ModelFiles::check_tensor(const TensorSpec& spec, const StoredRows& rows) const {
  const TensorInfo& tensor = *rows.tensor;
  const Shape expected = stored_shape(spec, tensor);
  const std::string where = file_of(tensor) + ": tensor " + quoted_name(tensor.name);
  if (tensor.shape != expected) {
    return model_error(where + " is " + shape_text(tensor.shape) + "; the config asks for " +
                       shape_text(expected));
  }
  const bool blocks = gguf_ && tensor.shape.size() > 1;  // vectors are never quantised
  if (blocks ? can_dequantize(tensor.dtype) : is_float(tensor.dtype)) return {};
  if (!gguf_ && is_own_quantised(tensor.dtype)) return {};
  return model_error(where + " is " + std::string(dtype_name(tensor.dtype)) +
                     ", which is not supported; supported: F32, F16, BF16" +
                     (blocks ? ", Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K" : ""));
}

// Whole, or nothing but its 1-D tensors.
Status ModelFiles::check_layer(uint32_t layer, std::vector<bool>& known) {
  std::string missing;
  bool any_matrix = false;
  for (const TensorSpec& spec : layer_schema(config_, layer)) {
    const std::optional<StoredRows> rows = find(spec);
    if (!rows) {
      if (is_norm(spec.slot)) {
        return model_error(path_ + ": tensor " + quoted_name(stored_name(spec)) +
                           " is missing; every directory holds all norms, a partial one too");
      }
      if (missing.empty()) missing = stored_name(spec);
      continue;
    }
    SPLITD_TRY(check_tensor(spec, *rows));
    any_matrix = any_matrix || spec.shape.size() > 1;
    known[static_cast<size_t>(rows->tensor - files().tensors().data())] = true;
  }
  if (any_matrix && !missing.empty()) {
    return model_error(path_ + ": layer " + std::to_string(layer) + " is incomplete: tensor " +
                       quoted_name(missing) + " is missing");
  }
  has_layer_[layer] = missing.empty();
  return {};
}

Status ModelFiles::check_strangers(const std::vector<bool>& known) const {
  const std::string layers = naming_.model + "layers.";
  for (size_t i = 0; i < known.size(); ++i) {
    const TensorInfo& tensor = files().tensors()[i];
    if (known[i] || is_known_buffer(tensor.name)) continue;
    // A directory may hold more than the text model: a vision tower, for one.
    if (!gguf_ && !tensor.name.starts_with(layers)) continue;
    if (gguf_ && tensor.name.starts_with("rope_")) continue;  // part of the config
    return model_error(file_of(tensor) + ": tensor " + quoted_name(tensor.name) +
                       " is none that a " + config_.family + " model of this config has");
  }
  return {};
}

Status ModelFiles::check_tensors() {
  std::vector<bool> known(files().tensors().size());
  const auto check = [&](const TensorSpec& spec) -> Result<bool> {
    const std::optional<StoredRows> rows = find(spec);
    if (!rows) return false;
    SPLITD_TRY(check_tensor(spec, *rows));
    known[static_cast<size_t>(rows->tensor - files().tensors().data())] = true;
    return true;
  };
  const Shape table = {config_.n_vocab, config_.d_model};
  SPLITD_ASSIGN(const bool norm, check({Slot::final_norm, 0, 0, {config_.d_model}}));
  if (!norm) {
    const std::string name = stored_name({Slot::final_norm, 0, 0, {}});
    return model_error(path_ + ": tensor " + quoted_name(name) +
                       " is missing; every directory holds all norms, a partial one too");
  }
  SPLITD_ASSIGN(has_embedding_, check({Slot::embedding, 0, 0, table}));
  SPLITD_ASSIGN(has_head_, check({Slot::head, 0, 0, table}));
  if (config_.tied) has_embedding_ = has_head_ = has_embedding_ || has_head_;
  has_layer_.assign(config_.n_layer, false);
  for (uint32_t layer = 0; layer < config_.n_layer; ++layer) SPLITD_TRY(check_layer(layer, known));
  return check_strangers(known);
}

bool ModelFiles::is_whole() const {
  return has_embedding_ && has_head_ &&
         std::all_of(has_layer_.begin(), has_layer_.end(), [](bool here) { return here; });
}

std::string ModelFiles::parts_text() const {
  std::string layers = ranges_text(has_layer_);
  layers = layers.empty() ? "no layer" : "layers " + layers;
  layers += " of " + std::to_string(config_.n_layer);
  layers += has_embedding_ ? ", the embedding" : ", no embedding";
  return layers + (has_head_ ? ", the head" : ", no head");
}

TensorView ModelFiles::view(const StoredRows& rows,
                            std::deque<std::array<uint64_t, 2>>& shapes) const {
  TensorView view = files().view(*rows.tensor);
  const uint64_t all_rows = row_count(view.shape);
  if (view.shape.size() <= 2 && rows.n_rows == all_rows) return view;
  const uint64_t row_bytes = view.bytes / all_rows;
  shapes.push_back({rows.n_rows, view.shape.back()});
  view.data += rows.first_row * row_bytes;
  view.bytes = rows.n_rows * row_bytes;
  view.shape = shapes.back();
  return view;
}

std::vector<FileRange> ModelFiles::layer_ranges(uint32_t layer) const {
  std::vector<FileRange> ranges;
  for (const TensorSpec& spec : layer_schema(config_, layer)) {
    const std::optional<StoredRows> rows = find(spec);
    if (!rows) continue;
    const TensorInfo& tensor = *rows->tensor;
    ranges.push_back({tensor.file, tensor.begin, tensor.begin + tensor.bytes});
  }
  std::sort(ranges.begin(), ranges.end(), [](const FileRange& a, const FileRange& b) {
    return a.file != b.file ? a.file < b.file : a.begin < b.begin;
  });
  std::vector<FileRange> merged;
  for (const FileRange& range : ranges) {
    if (!merged.empty() && merged.back().file == range.file && merged.back().end >= range.begin) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

void ModelFiles::advise_layer(uint32_t layer, MappedFile::Advice advice) const {
  for (const FileRange& range : layer_ranges(layer)) {
    files().files()[range.file].advise(range.begin, range.end - range.begin, advice);
  }
}

}  // namespace splitd

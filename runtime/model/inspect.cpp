#include "runtime/model/inspect.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>

#include "runtime/base/files.h"

namespace splitd {
namespace {

bool has_weights(const std::string& directory) {
  return path_exists(directory + "/model.safetensors") ||
         path_exists(directory + "/model.safetensors.index.json");
}

Result<ModelConfig> read_config_file(const std::string& path) {
  SPLITD_ASSIGN(std::string text, read_file(path, kMaxConfigBytes));
  const Result<JsonDoc> doc = JsonDoc::parse(std::move(text));
  if (!doc) return model_error(path + ": " + doc.error().message);
  Result<ModelConfig> config = parse_config(doc->root());
  if (!config) return config.take_error().within(path);
  return config;
}

}  // namespace

Result<Inspection> Inspection::open(const std::string& path) {
  const auto start = std::chrono::steady_clock::now();
  Inspection out;
  if (!path_exists(path)) return model_error(path + " does not exist");
  const bool directory = is_directory(path);
  if (directory && !has_weights(path)) {
    SPLITD_ASSIGN(out.config_, read_model_config(path));
  } else if (directory || is_gguf(path)) {
    SPLITD_ASSIGN(out.model_, ModelFiles::open(path));
  } else if (path.ends_with("config.json")) {
    SPLITD_ASSIGN(out.config_, read_config_file(path));
  } else {
    SPLITD_ASSIGN(out.tensors_, TensorFiles::open_safetensors(path));
  }
  const auto end = std::chrono::steady_clock::now();
  out.open_ms_ = std::chrono::duration<double, std::milli>(end - start).count();
  if (out.model_) {
    SPLITD_ASSIGN(out.fingerprint_, out.model_->fingerprint());
  }
  return out;
}

const ModelConfig* Inspection::config() const {
  if (model_) return &model_->config();
  return config_ ? &*config_ : nullptr;
}

const TensorFiles* Inspection::files() const {
  if (model_) return &model_->files();
  return tensors_ ? &*tensors_ : nullptr;
}

std::vector<DTypeUse> Inspection::dtypes() const {
  std::map<DType, DTypeUse> uses;
  if (files() == nullptr) return {};
  for (const TensorInfo& tensor : files()->tensors()) {
    DTypeUse& use = uses[tensor.dtype];
    use.dtype = tensor.dtype;
    use.tensors += 1;
    use.bytes += tensor.bytes;
  }
  std::vector<DTypeUse> out;
  for (const auto& [dtype, use] : uses) out.push_back(use);
  std::stable_sort(out.begin(), out.end(),
                   [](const DTypeUse& a, const DTypeUse& b) { return a.bytes > b.bytes; });
  return out;
}

uint64_t Inspection::weight_bytes() const {
  uint64_t total = 0;
  for (const DTypeUse& use : dtypes()) total += use.bytes;
  return total;
}

uint64_t Inspection::numbers() const {
  uint64_t total = 0;
  if (files() == nullptr) return total;
  for (const TensorInfo& tensor : files()->tensors()) {
    const DTypeInfo& info = dtype_info(tensor.dtype);
    total += tensor.bytes / info.block_bytes * info.block_values;
  }
  return total;
}

std::vector<uint64_t> Inspection::layer_bytes() const {
  std::vector<uint64_t> out;
  if (!model_) return out;
  for (uint32_t layer = 0; layer < model_->config().n_layer; ++layer) {
    uint64_t bytes = 0;
    if (model_->has_layer(layer)) {
      for (const FileRange& range : model_->layer_ranges(layer)) bytes += range.end - range.begin;
    }
    out.push_back(bytes);
  }
  return out;
}

uint64_t Inspection::slot_bytes(Slot slot) const {
  if (!model_) return 0;
  const std::optional<StoredRows> rows = model_->find({slot, 0, 0, {}});
  return rows ? rows->tensor->bytes : 0;
}

uint64_t Inspection::kv_bytes_per_token(uint32_t bytes_per_number) const {
  const ModelConfig* c = config();
  if (c == nullptr) return 0;
  return uint64_t{2} * c->n_layer * c->n_kv_head * c->d_head * bytes_per_number;
}

std::optional<uint64_t> process_resident_bytes() {
  // "size resident shared …", in pages.
  const Result<std::string> text = read_file("/proc/self/statm", 4096);
  if (!text) return std::nullopt;
  const size_t space = text->find(' ');
  if (space == std::string::npos) return std::nullopt;
  uint64_t pages = 0;
  const char* begin = text->data() + space + 1;
  if (std::from_chars(begin, text->data() + text->size(), pages).ec != std::errc()) {
    return std::nullopt;
  }
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace splitd

// The header is padded with spaces so that the data starts at a multiple of 64. Members stand in
// the order given and metadata in the order of its keys: the same input gives the same bytes.
#include "runtime/model/formats/safetensors_writer.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "runtime/model/formats/safetensors.h"

namespace splitd {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr std::string_view kMetadata = "__metadata__";

Status check_names(const std::vector<TensorInfo>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name == kMetadata) return usage_error("a tensor cannot be named __metadata__");
    if (!utf8_is_valid(tensor.name)) {
      return usage_error("tensor " + quoted_name(tensor.name) + ": its name is not UTF-8");
    }
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return usage_error("two tensors are named " + quoted_name(*twice));
  return {};
}

Status append_metadata(JsonWriter& json, const std::map<std::string, std::string>& metadata) {
  if (metadata.empty()) return {};
  json.key(kMetadata).begin_object();
  for (const auto& [key, value] : metadata) {
    if (!utf8_is_valid(key) || !utf8_is_valid(value)) {
      return usage_error("metadata " + quoted_name(key) + " is not UTF-8");
    }
    json.field(key, std::string_view(value));
  }
  json.end_object();
  return {};
}

// Appends one tensor that begins at `begin`; returns where it ends.
Result<uint64_t> append_tensor(JsonWriter& json, const TensorInfo& tensor, uint64_t begin) {
  const std::string_view dtype = dtype_name(tensor.dtype);
  if (!safetensors_dtype(dtype)) {
    return usage_error("tensor " + quoted_name(tensor.name) + ": safetensors has no " +
                       std::string(dtype));
  }
  const std::optional<uint64_t> bytes = tensor_bytes(tensor.dtype, tensor.shape);
  const std::optional<uint64_t> end = bytes ? checked_add(begin, *bytes) : std::nullopt;
  if (!end) {
    return usage_error("tensor " + quoted_name(tensor.name) + ": " + shape_text(tensor.shape) +
                       " is larger than 64 bits can count");
  }
  json.key(tensor.name).begin_object().field("dtype", dtype).key("shape").begin_array();
  for (uint64_t size : tensor.shape) json.number(size);
  json.end_array().key("data_offsets").begin_array().number(begin).number(*end).end_array();
  json.end_object();
  return *end;
}

}  // namespace

Result<std::string> make_safetensors_header(const std::vector<TensorInfo>& tensors,
                                            const std::map<std::string, std::string>& metadata) {
  SPLITD_TRY(check_names(tensors));
  JsonWriter json;
  json.begin_object();
  SPLITD_TRY(append_metadata(json, metadata));
  uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    SPLITD_ASSIGN(end, append_tensor(json, tensor, end));
  }
  std::string header = json.end_object().take();
  header.insert(0, 8, '\0');
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const uint64_t length = header.size() - 8;
  if (length > kMaxSafetensorsHeaderBytes) {
    return usage_error("a safetensors header of " + std::to_string(length) + " bytes; at most " +
                       std::to_string(kMaxSafetensorsHeaderBytes) + " are accepted");
  }
  for (size_t i = 0; i < 8; ++i) header[i] = static_cast<char>(length >> (8 * i) & 0xffu);
  return header;
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, std::vector<TensorInfo> tensors,
    const std::map<std::string, std::string>& metadata) {
  Result<std::string> header = make_safetensors_header(tensors, metadata);
  if (!header) return header.take_error().within(path);
  SPLITD_ASSIGN(AtomicFile file, AtomicFile::create(path));
  SPLITD_TRY(file.write(*header));
  SafetensorsWriter writer(std::move(file));
  for (const TensorInfo& tensor : tensors) {  // the header was made: none of it overflows
    writer.left_bytes_ += tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
  }
  return writer;
}

Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > left_bytes_) {
    return failed("writing " + std::to_string(bytes.size()) + " bytes of tensors where only " +
                  std::to_string(left_bytes_) + " are left of what the header declares");
  }
  left_bytes_ -= bytes.size();
  return file_.write(bytes);
}

Status SafetensorsWriter::commit() {
  if (left_bytes_ != 0) {
    return failed(std::to_string(left_bytes_) +
                  " bytes of what the header declares were never written");
  }
  return file_.commit();
}

}  // namespace splitd

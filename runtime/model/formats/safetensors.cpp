// The header of a safetensors file. JSON itself (duplicates, number syntax, UTF-8, depth) is
// checked by runtime/base/json.h; here stand the format's own rules.
#include "runtime/model/formats/safetensors.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/json.h"

namespace splitd {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMostMetadata = uint64_t{1} << 16;  // entries; each costs some 100 bytes here

Error tensor_error(std::string_view name, const std::string& what) {
  return model_error("tensor " + quoted_name(name) + ": " + what);
}

std::string known_dtypes() {
  std::string out;
  for (size_t i = 0; i <= static_cast<size_t>(DType::f64); ++i) {
    if (!out.empty()) out += ", ";
    out += dtype_name(static_cast<DType>(i));
  }
  return out;
}

Result<DType> read_dtype(std::string_view name, Json value) {
  const std::optional<std::string_view> text = value.to_string();
  if (!text) return tensor_error(name, "dtype is " + value.describe() + ", not a string");
  const std::optional<DType> dtype = safetensors_dtype(*text);
  if (!dtype) {
    return tensor_error(name,
                        "unknown dtype " + quoted_name(*text) + "; known are " + known_dtypes());
  }
  return *dtype;
}

Result<std::vector<uint64_t>> read_sizes(std::string_view name, std::string_view field,
                                         Json value) {
  if (!value.is_array()) {
    return tensor_error(name, std::string(field) + " is " + value.describe() + ", not an array");
  }
  std::vector<uint64_t> sizes;
  sizes.reserve(value.size());
  for (Json item : value.elements()) {
    const std::optional<uint64_t> size = item.to_u64();
    if (!size) {
      return tensor_error(name, std::string(field) + " holds " + item.describe() +
                                    ", not an unsigned integer of 64 bits");
    }
    sizes.push_back(*size);
  }
  return sizes;
}

// One member of the header. `begin` and `bytes` are as the header counts: from the data's start.
Result<TensorInfo> read_tensor(std::string_view name, Json value) {
  if (!value.is_object()) return tensor_error(name, "is " + value.describe() + ", not an object");
  std::optional<Json> dtype, shape, offsets;  // NOLINT: one thought
  for (const Json::Member field : value.members()) {
    if (field.key == "dtype") dtype = field.value;
    if (field.key == "shape") shape = field.value;
    if (field.key == "data_offsets") offsets = field.value;
  }
  if (!dtype) return tensor_error(name, "no dtype");
  if (!shape) return tensor_error(name, "no shape");
  if (!offsets) return tensor_error(name, "no data_offsets");

  TensorInfo tensor;
  SPLITD_ASSIGN(tensor.dtype, read_dtype(name, *dtype));
  SPLITD_ASSIGN(tensor.shape, read_sizes(name, "shape", *shape));
  SPLITD_ASSIGN(const std::vector<uint64_t> range, read_sizes(name, "data_offsets", *offsets));
  if (range.size() != 2) {
    return tensor_error(
        name, "data_offsets holds " + std::to_string(range.size()) + " numbers instead of 2");
  }
  if (range[1] < range[0]) {
    return tensor_error(name, "ends at byte " + std::to_string(range[1]) +
                                  ", before it begins at " + std::to_string(range[0]));
  }
  tensor.begin = range[0];
  tensor.bytes = range[1] - range[0];
  const std::string what =
      std::string(dtype_name(tensor.dtype)) + " of shape " + shape_text(tensor.shape);
  const std::optional<uint64_t> bytes = tensor_bytes(tensor.dtype, tensor.shape);
  if (!bytes) return tensor_error(name, what + " is larger than 64 bits can count");
  if (*bytes != tensor.bytes) {
    return tensor_error(name, what + " takes " + std::to_string(*bytes) +
                                  " bytes, but data_offsets give it " +
                                  std::to_string(tensor.bytes));
  }
  tensor.name = name;
  return tensor;
}

Result<std::map<std::string, std::string>> read_metadata(Json value) {
  if (!value.is_object()) {
    return model_error("__metadata__ is " + value.describe() + ", not an object");
  }
  if (value.size() > kMostMetadata) {
    return model_error("__metadata__ has " + std::to_string(value.size()) + " entries; at most " +
                       std::to_string(kMostMetadata) + " are accepted");
  }
  std::map<std::string, std::string> metadata;
  for (const Json::Member entry : value.members()) {
    const std::optional<std::string_view> text = entry.value.to_string();
    if (!text) {
      return model_error("__metadata__ " + quoted_name(entry.key) + " is " +
                         entry.value.describe() + ", not a string");
    }
    metadata.emplace(entry.key, *text);
  }
  return metadata;
}

// Sorts by place and demands that the tensors fill the data exactly. Makes `begin` count from the
// start of the file.
Status lay_out(SafetensorsHeader& header, uint64_t file_bytes) {
  const uint64_t data_bytes = file_bytes - header.data_begin;
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) {
              return std::tie(a.begin, a.bytes) < std::tie(b.begin, b.bytes);
            });
  uint64_t end = 0;
  const TensorInfo* before = nullptr;
  for (TensorInfo& tensor : header.tensors) {
    if (tensor.begin != end) {
      const std::string rest = before == nullptr ? ", but the data begins at 0"
                                                 : ", but " + quoted_name(before->name) +
                                                       " ends at " + std::to_string(end);
      return tensor_error(tensor.name, std::string(tensor.begin < end ? "overlaps: " : "a hole: ") +
                                           "it begins at byte " + std::to_string(tensor.begin) +
                                           rest);
    }
    if (!range_fits(tensor.begin, tensor.bytes, data_bytes)) {
      return tensor_error(tensor.name, "ends at byte " +
                                           std::to_string(tensor.begin + tensor.bytes) +
                                           " of the data, but the file has only " +
                                           std::to_string(data_bytes) + "; is it truncated?");
    }
    end += tensor.bytes;
    tensor.begin += header.data_begin;
    before = &tensor;
  }
  if (end != data_bytes) {
    return model_error(std::to_string(data_bytes - end) +
                       " bytes follow the last tensor: the tensors take " + std::to_string(end) +
                       " bytes, the file has " + std::to_string(data_bytes));
  }
  return {};
}

}  // namespace

Result<uint64_t> safetensors_header_bytes(std::span<const std::byte> first_8_bytes) {
  if (first_8_bytes.size() < kLengthBytes) {
    return model_error("not safetensors: " + std::to_string(first_8_bytes.size()) +
                       " bytes, but the header's length takes 8");
  }
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8 | std::to_integer<uint64_t>(first_8_bytes[i]);
  }
  if (length > kMaxSafetensorsHeaderBytes) {
    return model_error("not safetensors, or hostile: a header of " + std::to_string(length) +
                       " bytes; at most " + std::to_string(kMaxSafetensorsHeaderBytes) +
                       " are accepted");
  }
  return length;
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                   uint64_t file_bytes) {
  SPLITD_ASSIGN(const uint64_t length, safetensors_header_bytes(prefix));
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + length;
  if (header.data_begin > file_bytes) {
    return model_error("a header of " + std::to_string(length) + " bytes in a file of " +
                       std::to_string(file_bytes) + "; is it truncated?");
  }
  if (prefix.size() < header.data_begin) {
    return failed("only " + std::to_string(prefix.size()) + " bytes of a header of " +
                  std::to_string(header.data_begin) + " were read");
  }
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + kLengthBytes, length);
  if (!text.starts_with('{'))
    return model_error("not safetensors: the header does not begin with {");
  // The shortest tensor entry has 11 nodes in 50 bytes.
  const JsonLimits limits{.max_bytes = kMaxSafetensorsHeaderBytes,
                          .max_depth = 128,
                          .max_nodes = text.size() / 4 + 4096};
  Result<JsonDoc> doc = JsonDoc::parse_view(text, limits);
  if (!doc) return doc.take_error().within("the header");
  if (text[text.find_last_not_of(' ')] != '}') {
    return model_error("the header is padded with something else than spaces");
  }

  const Json root = doc->root();
  header.tensors.reserve(root.size());
  for (const Json::Member member : root.members()) {
    if (member.key == "__metadata__") {
      SPLITD_ASSIGN(header.metadata, read_metadata(member.value));
      continue;
    }
    SPLITD_ASSIGN(TensorInfo tensor, read_tensor(member.key, member.value));
    header.tensors.push_back(std::move(tensor));
  }
  SPLITD_TRY(lay_out(header, file_bytes));
  return header;
}

}  // namespace splitd

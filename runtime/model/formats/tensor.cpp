// Sizes and names of tensors, as the parsers check and print them.
#include "runtime/model/formats/tensor.h"

#include "runtime/base/checked.h"
#include "runtime/base/json.h"
#include "runtime/base/utf8.h"

namespace splitd {

std::string shape_text(std::span<const uint64_t> shape) {
  std::string out = "[";
  for (uint64_t size : shape) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(size);
  }
  return out + "]";
}

std::optional<uint64_t> tensor_bytes(DType dtype, std::span<const uint64_t> shape) {
  const DTypeInfo& info = dtype_info(dtype);
  const uint64_t row = shape.empty() ? 1 : shape.back();
  if (row % info.block_values != 0) return std::nullopt;
  const std::optional<uint64_t> values = checked_product(shape);
  if (!values) return std::nullopt;
  return checked_mul(*values / info.block_values, info.block_bytes);
}

std::string quoted_name(std::string_view name) {
  constexpr size_t kMostBytes = 100;
  size_t cut = name.size();
  if (cut > kMostBytes) {
    cut = kMostBytes;
    while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xc0u) == 0x80u) --cut;
  }
  std::string out;
  json_append_string(out, utf8_replace_invalid(name.substr(0, cut)));
  if (cut < name.size()) out += "…";
  return out;
}

}  // namespace splitd

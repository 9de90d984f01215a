// Any bytes as a file: accepted tensors lie in it, aligned and apart; accepted values can be read
// whole, through every accessor, without leaving it.
#include <cstdlib>

#include "runtime/model/formats/gguf.h"

namespace {

using namespace splitd;

// Reads all of a value; returns where it ends, which no other value may pass.
uint64_t read_value(GgufValue value, uint64_t& checksum) {
  checksum += value.to_u64().value_or(0) + static_cast<uint64_t>(value.to_i64().value_or(0));
  checksum += value.to_bool().value_or(false) ? 1 : 0;
  checksum += value.to_f64().has_value() ? 1 : 0;
  if (const auto text = value.to_string()) {
    for (const char c : *text) checksum += static_cast<unsigned char>(c);
  }
  uint64_t items = 0;
  for (const GgufValue item : value.elements()) {
    read_value(item, checksum);
    ++items;
  }
  if (items != value.size()) std::abort();
  if (const auto all = value.to_strings(); all && all->size() != items) std::abort();
  if (const auto all = value.to_i64s(); all && all->size() != items) std::abort();
  if (const auto all = value.to_f32s(); all && all->size() != items) std::abort();
  const std::string description = value.describe();
  if (description.empty() || description.find('\n') != std::string::npos) std::abort();
  return value.bytes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<GgufHeader> header =
      parse_gguf_header({reinterpret_cast<const std::byte*>(data), size});
  if (!header) {
    if (header.error().message.empty()) std::abort();
    return 0;
  }
  if (header->data_begin > size) std::abort();
  uint64_t end = header->data_begin;
  for (const TensorInfo& tensor : header->tensors) {
    if (tensor.begin < end || tensor.begin > size || tensor.bytes > size - tensor.begin) {
      std::abort();
    }
    if ((tensor.begin - header->data_begin) % header->alignment != 0) std::abort();
    if (tensor_bytes(tensor.dtype, tensor.shape) != tensor.bytes) std::abort();
    end = tensor.begin + tensor.bytes;
  }
  uint64_t checksum = 0;
  uint64_t value_bytes = 0;
  for (const GgufHeader::Entry& entry : header->metadata) {
    value_bytes += read_value(entry.value, checksum) + 12 + entry.key.size();
  }
  if (value_bytes > size) std::abort();
  return 0;
}

// Any bytes as a file: what is accepted fills the data exactly, tensor behind tensor, and the
// writer makes a file of it that reads the same.
#include <cstdlib>

#include "runtime/model/formats/safetensors.h"
#include "runtime/model/formats/safetensors_writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  const Result<SafetensorsHeader> header = parse_safetensors_header(file, size);
  if (!header) {
    if (header.error().message.empty()) std::abort();
    return 0;
  }
  uint64_t end = header->data_begin;
  for (const TensorInfo& tensor : header->tensors) {
    if (tensor.begin != end || tensor.bytes > size - end) std::abort();
    if (tensor_bytes(tensor.dtype, tensor.shape) != tensor.bytes) std::abort();
    end += tensor.bytes;
  }
  if (end != size) std::abort();

  const Result<std::string> text = make_safetensors_header(header->tensors, header->metadata);
  if (!text) std::abort();
  const Result<SafetensorsHeader> again = parse_safetensors_header(
      std::as_bytes(std::span(*text)), text->size() + (size - header->data_begin));
  if (!again || again->metadata != header->metadata) std::abort();
  if (again->tensors.size() != header->tensors.size()) std::abort();
  return 0;
}

// Owns: writing a safetensors file: the header first (so all names, types and shapes are declared
// before any data), then the data in the declared order, streamed. The file appears whole or not at
// all. Tensors start at multiples of 64 bytes where the sizes before them allow it; no holes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/result.h"
#include "runtime/model/formats/tensor.h"

namespace splitd {

// The 8-byte length and the JSON header for these tensors laid out back to back in this order.
[[nodiscard]] Result<std::string> make_safetensors_header(
    const std::vector<TensorInfo>& tensors, const std::map<std::string, std::string>& metadata);

class SafetensorsWriter {
 public:
  // `tensors` gives name, dtype, shape; begin, bytes and file are ignored.
  static Result<SafetensorsWriter> create(const std::string& path, std::vector<TensorInfo> tensors,
                                          const std::map<std::string, std::string>& metadata);
  // The next bytes of the data, in any portions. Refuses more than was declared.
  Status write(std::span<const std::byte> bytes);
  // Refuses less than was declared.
  Status commit();

 private:
  explicit SafetensorsWriter(AtomicFile file) : file_(std::move(file)) {}
  AtomicFile file_;
  uint64_t left_bytes_ = 0;
};

}  // namespace splitd

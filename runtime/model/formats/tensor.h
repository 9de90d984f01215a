// Owns: what a tensor in a file is. Views never own: the mapped file does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/formats/dtype.h"

namespace splitd {

using Shape = std::vector<uint64_t>;  // outermost first, as PyTorch prints it

[[nodiscard]] std::string shape_text(std::span<const uint64_t> shape);  // "[576, 1536]", "[]"

// Bytes of a tensor, dense and row-major. Nothing when the size does not fit 64 bits (sizes are
// multiplied outermost first, as safetensors does) or a row is no multiple of the type's block.
[[nodiscard]] std::optional<uint64_t> tensor_bytes(DType dtype, std::span<const uint64_t> shape);

// A name out of a file, for a message: quoted, one line, valid UTF-8, cut after 100 bytes.
[[nodiscard]] std::string quoted_name(std::string_view name);

// A tensor's place in a file. `begin` is from the start of the FILE.
struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint32_t file = 0;  // which of the model's files
};

// A tensor's bytes in memory. No alignment is promised.
struct TensorView {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  std::span<const uint64_t> shape;
  uint64_t bytes = 0;
};

}  // namespace splitd

// Owns: the numbers of one tensor on their way into another dtype: rows in a chosen order, a few
// hundred KiB at a time. Rounds to nearest even, as PyTorch does. Refuses what is not finite in the
// source or would not be in the result, with row and column. Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "runtime/base/result.h"
#include "runtime/model/formats/tensor_files.h"

namespace splitd {

// Rows (vectors of the last dimension; a 1-D tensor is one row) of a stored tensor.
struct RowSource {
  const TensorInfo* tensor = nullptr;
  uint64_t first_row = 0;
  uint64_t n_rows = 0;
  // GGUF's order for llama: of a head this wide, row 2j+t is row t·width/2+j. 0: rows are in order.
  // Of a 1-D tensor the elements are meant.
  uint32_t interleaved_head = 0;
  bool one_added = false;  // the stored numbers are 1 + w
};

using ByteSink = std::function<Status(std::span<const std::byte>)>;

// `to` is F32, F16 or BF16; a source of any other type that cannot be dequantised is copied when
// `to` is its own.
[[nodiscard]] Status convert_rows(const TensorFiles& files, const RowSource& source, DType to,
                                  const ByteSink& sink);

}  // namespace splitd

// Owns: the numbers of one tensor on their way into another dtype: rows in a chosen order, a few
// hundred KiB at a time, read and not mapped. Rounds to nearest even, as PyTorch does; rows of Q8
// and Q4 are quantised by several threads. Refuses what is not finite in the source or would not be
// in the result, with row and column.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/quantise_feedback.h"

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

// Takes whole rows at a time.
using ByteSink = std::function<Status(std::span<const std::byte>)>;

// The rows of a source in their final order, as f32. Thread-safe.
class RowReader {
 public:
  RowReader(const TensorFiles& files, const RowSource& source);

  uint64_t columns() const { return columns_; }
  // `scratch` is for the rows as they are stored.
  Status read(uint64_t row, uint64_t n_rows, float* values, std::vector<std::byte>& scratch) const;

 private:
  Status read_stored(uint64_t row, uint64_t n_rows, float* values,
                     std::vector<std::byte>& scratch) const;

  const TensorFiles& files_;
  const RowSource& source_;
  uint64_t columns_;
  uint64_t row_bytes_;
};

// `to` is F32, F16 or BF16; a source of a type that cannot be dequantised is copied when `to` is
// its own. The first `skip_bytes` of the result, whole rows, are left out.
[[nodiscard]] Status convert_rows(const TensorFiles& files, const RowSource& source, DType to,
                                  uint64_t skip_bytes, const ByteSink& sink);

// `to` is Q8 or Q4, by `feedback` where there is one. `loss` grows with every row that
// the sink took, in their order: the same sums however the work was divided.
[[nodiscard]] Status quantise_rows(const TensorFiles& files, const RowSource& source, DType to,
                                   const Feedback* feedback, uint32_t n_thread, uint64_t skip_bytes,
                                   QuantisationLoss& loss, const ByteSink& sink);

}  // namespace splitd

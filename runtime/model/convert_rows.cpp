#include "runtime/model/convert_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/model/formats/dequantize.h"

namespace splitd {
namespace {

constexpr uint64_t kChunkValues = uint64_t{1} << 17;  // 512 KiB of f32

// The stored row (or element) that row `index` of the result comes from.
uint64_t stored_index(uint64_t index, uint32_t head) {
  if (head == 0) return index;
  const uint64_t in_head = index % head;
  const uint64_t half = head / 2;
  return index - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

// Stores `values` as `to`. Returns the first that is not finite afterwards, or values.size().
size_t narrow(std::span<const float> values, DType to, std::byte* out) {
  const size_t n = values.size();
  // Accumulated without a branch, so that the loops below stay vectors.
  uint32_t infinite = 0;
  if (to == DType::bf16) {
    for (size_t i = 0; i < n; ++i) {
      const uint16_t bits = to_bf16(values[i]).bits;
      infinite |= (bits & 0x7f80u) == 0x7f80u;
      std::memcpy(out + 2 * i, &bits, 2);
    }
  } else if (to == DType::f16) {
    for (size_t i = 0; i < n; ++i) {
      const uint16_t bits = to_f16(values[i]).bits;
      infinite |= (bits & 0x7c00u) == 0x7c00u;
      std::memcpy(out + 2 * i, &bits, 2);
    }
  } else {
    std::memcpy(out, values.data(), n * 4);
    for (const float value : values) infinite |= !std::isfinite(value);
  }
  if (infinite == 0) return n;
  const auto is_bad = [&](float value) {
    if (to == DType::bf16) return !std::isfinite(to_f32(to_bf16(value)));
    if (to == DType::f16) return !std::isfinite(to_f32(to_f16(value)));
    return !std::isfinite(value);
  };
  return static_cast<size_t>(std::find_if(values.begin(), values.end(), is_bad) - values.begin());
}

Error refuse(float value, uint64_t row, uint64_t column, DType to) {
  const std::string where =
      "row " + std::to_string(row) + ", column " + std::to_string(column) + ": ";
  if (!std::isfinite(value)) {
    return model_error(where + (std::isnan(value) ? "not a number" : "infinite"));
  }
  return model_error(where + std::to_string(value) + " does not fit " +
                     std::string(dtype_name(to)) + "; accepted: BF16 or F32 for such a model");
}

Status copy_bytes(const TensorView& view, const ByteSink& sink) {
  constexpr uint64_t kStep = uint64_t{1} << 20;
  for (uint64_t at = 0; at < view.bytes; at += kStep) {
    SPLITD_TRY(sink({view.data + at, std::min(kStep, view.bytes - at)}));
  }
  return {};
}

// The rows in their final order, as f32, into `values`.
class RowReader {
 public:
  RowReader(const TensorView& view, const RowSource& source)
      : view_(view), source_(source), columns_(view.shape.empty() ? 1 : view.shape.back()) {
    const DTypeInfo& info = dtype_info(view.dtype);
    row_bytes_ = columns_ / info.block_values * info.block_bytes;
  }

  uint64_t columns() const { return columns_; }

  void read(uint64_t row, uint64_t n_rows, float* values) const {
    const bool reordered = source_.interleaved_head != 0 && view_.shape.size() > 1;
    if (!reordered) {
      dequantize(view_.dtype, view_.data + (source_.first_row + row) * row_bytes_,
                 n_rows * columns_, values);
    }
    for (uint64_t i = 0; i < n_rows && reordered; ++i) {
      const uint64_t from = source_.first_row + stored_index(row + i, source_.interleaved_head);
      dequantize(view_.dtype, view_.data + from * row_bytes_, columns_, values + i * columns_);
    }
    if (source_.one_added) {
      for (uint64_t i = 0; i < n_rows * columns_; ++i) values[i] -= 1.0f;
    }
    if (source_.interleaved_head != 0 && view_.shape.size() == 1) {
      const std::vector<float> stored(values, values + columns_);
      for (uint64_t i = 0; i < columns_; ++i) {
        values[i] = stored[stored_index(i, source_.interleaved_head)];
      }
    }
  }

 private:
  const TensorView& view_;
  const RowSource& source_;
  uint64_t columns_;
  uint64_t row_bytes_;
};

}  // namespace

Status convert_rows(const TensorFiles& files, const RowSource& source, DType to,
                    const ByteSink& sink) {
  const TensorView view = files.view(*source.tensor);
  if (view.bytes == 0) return {};
  if (!can_dequantize(view.dtype)) return copy_bytes(view, sink);
  const RowReader reader(view, source);
  const uint64_t step = std::max<uint64_t>(1, kChunkValues / reader.columns());
  const uint64_t value_bytes = to == DType::f32 ? 4 : 2;
  std::vector<float> values(std::min(step, source.n_rows) * reader.columns());
  std::vector<std::byte> out(values.size() * value_bytes);
  for (uint64_t row = 0; row < source.n_rows; row += step) {
    const uint64_t n_rows = std::min(step, source.n_rows - row);
    const std::span<float> part(values.data(), n_rows * reader.columns());
    reader.read(row, n_rows, part.data());
    const size_t bad = narrow(part, to, out.data());
    if (bad < part.size()) {
      return refuse(part[bad], row + bad / reader.columns(), bad % reader.columns(), to);
    }
    SPLITD_TRY(sink({out.data(), part.size() * value_bytes}));
  }
  return {};
}

}  // namespace splitd

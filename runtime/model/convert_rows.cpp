#include "runtime/model/convert_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/model/formats/dequantize.h"

namespace splitd {
namespace {

constexpr uint64_t kChunkValues = uint64_t{1} << 17;  // 512 KiB of f32

// At least that many rows, in whole panels.
uint64_t panels(uint64_t rows) {
  return std::max<uint64_t>(1, (rows + kQuantPanel - 1) / kQuantPanel) * kQuantPanel;
}

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

// The place of a value that `to` cannot hold.
Error refuse(std::span<const float> values, size_t bad, uint64_t row, uint64_t columns, DType to) {
  return refuse(values[bad], row + bad / columns, bad % columns, to);
}

Status copy_bytes(const TensorFiles& files, const TensorInfo& tensor, uint64_t skip_bytes,
                  const ByteSink& sink) {
  constexpr uint64_t kStep = uint64_t{1} << 20;
  std::vector<std::byte> bytes(std::min(kStep, tensor.bytes));
  for (uint64_t at = skip_bytes; at < tensor.bytes; at += kStep) {
    const auto part = std::span(bytes).first(std::min(kStep, tensor.bytes - at));
    SPLITD_TRY(files.read(tensor, at, part));
    SPLITD_TRY(sink(part));
  }
  return {};
}

// One thread's share of a block of rows.
struct QuantisePart {
  std::vector<float> values;
  std::vector<std::byte> scratch;
  std::vector<QuantisationLoss> losses;  // by row
  std::optional<Error> error;
};

struct QuantiseWork {
  const RowReader& reader;
  DType to;
  const Feedback* feedback;

  // Rows of the source from `row` on, to rows of the matrix `out` from `out_row` on.
  Status run(uint64_t row, uint64_t n_rows, std::byte* out, uint64_t out_row,
             QuantisePart& part) const {
    const uint64_t columns = reader.columns();
    part.values.resize(n_rows * columns);
    part.losses.assign(n_rows, {});
    SPLITD_TRY(reader.read(row, n_rows, part.values.data(), part.scratch));
    const uint64_t step = feedback != nullptr ? kQuantPanel : 1;
    for (uint64_t i = 0; i < n_rows; i += step) {
      const uint64_t n = std::min(step, n_rows - i);
      const std::span<const float> values(part.values.data() + i * columns, n * columns);
      QuantisationLoss* losses = part.losses.data() + i;
      const std::optional<size_t> bad =
          feedback != nullptr ? feedback->quantise_rows(to, values, n, out, out_row + i, losses)
                              : quantise_row(to, values, {}, out, out_row + i, *losses);
      if (bad) return refuse(values, *bad, row + i, columns, to);
    }
    return {};
  }
};

}  // namespace

RowReader::RowReader(const TensorFiles& files, const RowSource& source)
    : files_(files),
      source_(source),
      columns_(source.tensor->shape.empty() ? 1 : source.tensor->shape.back()),
      row_bytes_(*tensor_bytes(source.tensor->dtype, std::span(&columns_, 1))) {}

// Rows that lie together, in the order of the file.
Status RowReader::read_stored(uint64_t row, uint64_t n_rows, float* values,
                              std::vector<std::byte>& scratch) const {
  const TensorInfo& tensor = *source_.tensor;
  scratch.resize(n_rows * row_bytes_);
  SPLITD_TRY(files_.read(tensor, (source_.first_row + row) * row_bytes_, scratch));
  if (!is_own_quantised(tensor.dtype)) {
    dequantize(tensor.dtype, scratch.data(), n_rows * columns_, values);
    return {};
  }
  for (uint64_t i = 0; i < n_rows; ++i) {
    dequantize_row(tensor.dtype, scratch.data(), columns_, i, values + i * columns_);
  }
  return {};
}

Status RowReader::read(uint64_t row, uint64_t n_rows, float* values,
                       std::vector<std::byte>& scratch) const {
  const bool reordered = source_.interleaved_head != 0 && source_.tensor->shape.size() > 1;
  if (!reordered) SPLITD_TRY(read_stored(row, n_rows, values, scratch));
  for (uint64_t i = 0; i < n_rows && reordered; ++i) {
    SPLITD_TRY(read_stored(stored_index(row + i, source_.interleaved_head), 1,
                           values + i * columns_, scratch));
  }
  if (source_.one_added) {
    for (uint64_t i = 0; i < n_rows * columns_; ++i) values[i] -= 1.0f;
  }
  if (source_.interleaved_head != 0 && source_.tensor->shape.size() == 1) {
    const std::vector<float> stored(values, values + columns_);
    for (uint64_t i = 0; i < columns_; ++i) {
      values[i] = stored[stored_index(i, source_.interleaved_head)];
    }
  }
  return {};
}

Status convert_rows(const TensorFiles& files, const RowSource& source, DType to,
                    uint64_t skip_bytes, const ByteSink& sink) {
  const TensorInfo& tensor = *source.tensor;
  if (tensor.bytes == 0) return {};
  if (!can_dequantize(tensor.dtype) && !is_own_quantised(tensor.dtype)) {
    return copy_bytes(files, tensor, skip_bytes, sink);
  }
  const RowReader reader(files, source);
  const uint64_t step = panels(kChunkValues / reader.columns());  // what Q8 and Q4 are read in
  const uint64_t value_bytes = to == DType::f32 ? 4 : 2;
  std::vector<float> values(std::min(step, source.n_rows) * reader.columns());
  std::vector<std::byte> out(values.size() * value_bytes);
  std::vector<std::byte> scratch;
  const uint64_t skip = skip_bytes / (reader.columns() * value_bytes);
  for (uint64_t row = skip; row < source.n_rows; row += step) {
    const uint64_t n_rows = std::min(step, source.n_rows - row);
    const std::span<float> part(values.data(), n_rows * reader.columns());
    SPLITD_TRY(reader.read(row, n_rows, part.data(), scratch));
    const size_t bad = narrow(part, to, out.data());
    if (bad < part.size()) return refuse(part, bad, row, reader.columns(), to);
    SPLITD_TRY(sink({out.data(), part.size() * value_bytes}));
  }
  return {};
}

Status quantise_rows(const TensorFiles& files, const RowSource& source, DType to,
                     const Feedback* feedback, uint32_t n_thread, uint64_t skip_bytes,
                     QuantisationLoss& loss, const ByteSink& sink) {
  const RowReader reader(files, source);
  const uint64_t row_bytes = quantised_row_bytes(to, reader.columns());
  const QuantiseWork work{reader, to, feedback};
  // Panels for each thread: so many that starting it is nothing beside its work.
  const uint64_t step = panels(4 * kChunkValues / reader.columns());
  std::vector<QuantisePart> parts(std::max(1u, n_thread));
  std::vector<std::byte> out;
  for (uint64_t row = skip_bytes / row_bytes; row < source.n_rows;) {
    const uint64_t n_rows = std::min(step * parts.size(), source.n_rows - row);
    const uint64_t each = panels((n_rows + parts.size() - 1) / parts.size());
    out.resize(n_rows * row_bytes);
    const auto run = [&](size_t index) {
      QuantisePart& part = parts[index];
      const uint64_t begin = std::min(n_rows, index * each);
      const uint64_t end = std::min(n_rows, begin + each);
      Status done = work.run(row + begin, end - begin, out.data(), begin, part);
      if (!done) part.error = done.take_error();
    };
    std::vector<std::thread> others;
    size_t begun = 1;
    try {
      for (; begun < parts.size() && begun * each < n_rows; ++begun)
        others.emplace_back(run, begun);
    } catch (const std::system_error&) {
      // No room for another stack, under a limit on address space for one.
    }
    run(0);
    for (size_t i = begun; i < parts.size() && i * each < n_rows; ++i) run(i);
    for (std::thread& other : others) other.join();
    for (QuantisePart& part : parts) {
      if (part.error) return std::move(*part.error);
    }
    for (size_t i = 0; i < parts.size() && i * each < n_rows; ++i) {
      for (const QuantisationLoss& one : parts[i].losses) loss.add(one);
    }
    SPLITD_TRY(sink(out));
    row += n_rows;
  }
  return {};
}

}  // namespace splitd

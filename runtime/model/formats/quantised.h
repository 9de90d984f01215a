// Owns: splitd's own quantised matrices, q8 and q4, as files hold them (QUANTISED.md): what they
// are called, which shapes can be one. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/model/formats/dtype.h"

namespace splitd {

// In config.json: quantization_config.quant_method and .version.
inline constexpr std::string_view kQuantMethod = "splitd";
inline constexpr uint32_t kQuantVersion = 1;

inline constexpr uint64_t kQuantGroup = 32;  // values of a row that share a scale
inline constexpr uint64_t kQuantPanel = 16;  // rows that lie together

[[nodiscard]] constexpr bool is_own_quantised(DType dtype) {
  return dtype == DType::q8 || dtype == DType::q4;
}

// A row's share of a matrix, in bytes. Needs a multiple of kQuantGroup columns.
[[nodiscard]] inline uint64_t quantised_row_bytes(DType dtype, uint64_t columns) {
  return columns / kQuantGroup * dtype_info(dtype).block_bytes;
}

// What the name of a tensor in a file ends with when it is such a matrix: ".q8", ".q4".
[[nodiscard]] std::string_view quantised_suffix(DType dtype);
// The type that the name says; nothing for a plain name.
[[nodiscard]] std::optional<DType> quantised_by_name(std::string_view name);
[[nodiscard]] std::string_view without_quantised_suffix(std::string_view name);

// Row `row` of the matrix at `matrix`, which is of any alignment; `out` takes `columns`.
void dequantize_row(DType dtype, const std::byte* matrix, uint64_t columns, uint64_t row,
                    float* out);
// Sets group `group` of a row. `scale`: the bits of an f16. `levels`: kQuantGroup numbers,
// −127 … 127 (q8) or −8 … 7 (q4).
void put_group(DType dtype, std::byte* matrix, uint64_t columns, uint64_t row, uint64_t group,
               uint16_t scale, const int8_t* levels);

}  // namespace splitd

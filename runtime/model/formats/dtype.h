// Owns: the element types that model files hold, their names and their sizes. Block types (GGUF)
// pack `block_values` values into `block_bytes` bytes; for the others a block is one value.
// splitd's own q8 and q4 lie in panels of 16 rows (quantised.h); a block is a row's share of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace splitd {

enum class DType : uint8_t {
  // safetensors
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  u64,
  i64,
  f64,
  // GGUF blocks
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
  // splitd's own
  q8,
  q4,
};

struct DTypeInfo {
  std::string_view name;  // as safetensors or GGUF spell it: "BF16", "Q4_1"
  uint32_t block_values;
  uint32_t block_bytes;
};

[[nodiscard]] const DTypeInfo& dtype_info(DType dtype);
[[nodiscard]] inline std::string_view dtype_name(DType dtype) {
  return dtype_info(dtype).name;
}

// Exactly as a safetensors header spells it ("F32", case-sensitive); block types are not among
// them.
[[nodiscard]] std::optional<DType> safetensors_dtype(std::string_view name);

}  // namespace splitd

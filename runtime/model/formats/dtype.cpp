// The table of element types, in the order of the enum.
#include "runtime/model/formats/dtype.h"

#include <array>
#include <cstddef>

namespace splitd {
namespace {

constexpr std::array<DTypeInfo, 25> kTypes = {{
    {"BOOL", 1, 1},     {"U8", 1, 1},       {"I8", 1, 1},       {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1},  {"U16", 1, 2},      {"I16", 1, 2},      {"F16", 1, 2},
    {"BF16", 1, 2},     {"U32", 1, 4},      {"I32", 1, 4},      {"F32", 1, 4},
    {"U64", 1, 8},      {"I64", 1, 8},      {"F64", 1, 8},      {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},   {"Q5_0", 32, 22},   {"Q5_1", 32, 24},   {"Q8_0", 32, 34},
    {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"Q8", 32, 34},
    {"Q4", 32, 18},
}};
static_assert(kTypes[static_cast<size_t>(DType::f64)].name == "F64");
static_assert(kTypes[static_cast<size_t>(DType::q6_k)].name == "Q6_K");
static_assert(kTypes[static_cast<size_t>(DType::q4)].name == "Q4");

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  return kTypes[static_cast<size_t>(dtype)];
}

std::optional<DType> safetensors_dtype(std::string_view name) {
  for (size_t i = 0; i <= static_cast<size_t>(DType::f64); ++i) {
    if (kTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace splitd

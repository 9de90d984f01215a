// Names, and the two types as the kernels know them.
#include "runtime/model/formats/quantised.h"

#include "kernels/quantised.h"

namespace splitd {

static_assert(kQuantGroup == kernels::kGroup && kQuantPanel == kernels::kPanelRows);

static kernels::WeightType weight_type(DType dtype) {
  return dtype == DType::q8 ? kernels::WeightType::q8 : kernels::WeightType::q4;
}

std::string_view quantised_suffix(DType dtype) {
  return dtype == DType::q8 ? ".q8" : ".q4";
}

std::optional<DType> quantised_by_name(std::string_view name) {
  if (name.ends_with(".q8")) return DType::q8;
  if (name.ends_with(".q4")) return DType::q4;
  return std::nullopt;
}

std::string_view without_quantised_suffix(std::string_view name) {
  return quantised_by_name(name) ? name.substr(0, name.size() - 3) : name;
}

void dequantize_row(DType dtype, const std::byte* matrix, uint64_t columns, uint64_t row,
                    float* out) {
  kernels::dequantise_row(weight_type(dtype), matrix, columns, row, out);
}

void put_group(DType dtype, std::byte* matrix, uint64_t columns, uint64_t row, uint64_t group,
               uint16_t scale, const int8_t* levels) {
  kernels::put_group(weight_type(dtype), matrix, columns, row, group, scale, levels);
}

}  // namespace splitd

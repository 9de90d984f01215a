#include "runtime/split/wire.h"

#include <array>
#include <string>

namespace splitd {

static constexpr std::array<std::pair<std::string_view, WireType>, 5> kNames = {{
    {"f16", WireType::f16},
    {"bf16", WireType::bf16},
    {"f32", WireType::f32},
    {"q8", WireType::q8},
    {"q4", WireType::q4},
}};

std::string_view wire_name(WireType type) {
  for (const auto& [name, value] : kNames) {
    if (value == type) return name;
  }
  return "";
}

Result<WireType> wire_of_name(std::string_view name) {
  for (const auto& [known, value] : kNames) {
    if (known == name) return value;
  }
  return usage_error("no wire type '" + std::string(name) +
                     "'; f16, bf16, f32, q8 and q4 are known");
}

uint64_t Wire::bytes(uint64_t n_row) const {
  const uint64_t data = kernels::wire_data_bytes(type_, d_model_);
  return n_row * (data + (kernels::wire_has_exponents(type_) ? 1 : 0));
}

Error Wire::fault(kernels::RowFault at, std::string_view where) const {
  std::string what = at.column >= d_model_ ? "has an exponent out of range"
                                           : "is not finite in column " + std::to_string(at.column);
  return model_error("row " + std::to_string(at.row) + " " + std::string(where) + " " + what +
                     " (wire type " + std::string(wire_name(type_)) + ")");
}

Status Wire::encode(std::span<const float> rows, std::span<std::byte> payload) const {
  const size_t n = rows.size() / d_model_;
  const size_t data_bytes = n * kernels::wire_data_bytes(type_, d_model_);
  auto* const data = reinterpret_cast<uint8_t*>(payload.data());
  const kernels::RowFault at =
      table_->rows.wire_encode(type_, rows.data(), d_model_, n, d_model_, data,
                               reinterpret_cast<int8_t*>(data + data_bytes));
  if (at.row != n) return fault(at, "to send");
  return {};
}

Status Wire::decode(std::span<const std::byte> payload, std::span<float> rows) const {
  const size_t n = rows.size() / d_model_;
  const size_t data_bytes = n * kernels::wire_data_bytes(type_, d_model_);
  const auto* const data = reinterpret_cast<const uint8_t*>(payload.data());
  const kernels::RowFault at =
      table_->rows.wire_decode(type_, data, reinterpret_cast<const int8_t*>(data + data_bytes), n,
                               d_model_, rows.data(), d_model_);
  if (at.row != n) return fault(at, "received");
  return {};
}

}  // namespace splitd

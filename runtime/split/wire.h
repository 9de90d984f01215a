// Owns: rows as the payload of a message (DESIGN §6): n rows of data, then their exponents where
// the type has them. Refuses what is not finite, with row and column. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/kernels.h"
#include "runtime/base/result.h"

namespace splitd {

using kernels::WireType;

[[nodiscard]] std::string_view wire_name(WireType type);
[[nodiscard]] Result<WireType> wire_of_name(std::string_view name);  // names what is accepted

class Wire {
 public:
  Wire(const kernels::KernelTable& table, WireType type, uint32_t d_model)
      : table_(&table), type_(type), d_model_(d_model) {}

  WireType type() const { return type_; }
  uint32_t d_model() const { return d_model_; }
  // Of n rows. Exact for any n whose rows fit in memory.
  uint64_t bytes(uint64_t n_row) const;

  // rows (n, d_model) to payload.size() == bytes(n).
  [[nodiscard]] Status encode(std::span<const float> rows, std::span<std::byte> payload) const;
  [[nodiscard]] Status decode(std::span<const std::byte> payload, std::span<float> rows) const;

 private:
  Error fault(kernels::RowFault at, std::string_view where) const;

  const kernels::KernelTable* table_;
  WireType type_;
  uint32_t d_model_;
};

}  // namespace splitd

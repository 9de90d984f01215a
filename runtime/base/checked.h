// Owns: arithmetic on sizes that came from a file or a peer. Every result says when it did not fit.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace splitd {

[[nodiscard]] inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

[[nodiscard]] inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Left to right: {0, 2^62, 2^62} is 0, {2^62, 2^62, 0} overflows.
[[nodiscard]] inline std::optional<uint64_t> checked_product(std::span<const uint64_t> factors) {
  uint64_t product = 1;
  for (uint64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  }
  return product;
}

// The multiple of `alignment` (a power of two) at or above `value`.
[[nodiscard]] inline std::optional<uint64_t> checked_align_up(uint64_t value, uint64_t alignment) {
  const std::optional<uint64_t> sum = checked_add(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

// Whether [begin, begin + length) lies inside [0, size).
[[nodiscard]] inline bool range_fits(uint64_t begin, uint64_t length, uint64_t size) {
  return begin <= size && length <= size - begin;
}

// `value` as a To, or nothing when it would change.
template <class To, class From>
[[nodiscard]] constexpr std::optional<To> checked_cast(From value) {
  if (!std::in_range<To>(value)) return std::nullopt;
  return static_cast<To>(value);
}

}  // namespace splitd

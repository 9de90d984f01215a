// Owns: numbers → splitd's q8 and q4 (formats/QUANTISED.md): which scale a group gets. A group
// is searched for the f16 scale that loses least, by the importance of its columns where that is
// known. Refuses what is not finite and what no f16 scale reaches. The same input gives the same
// bytes on every machine: sums have a fixed order and nothing is fused. Pure, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "runtime/model/formats/quantised.h"

namespace splitd {

// Sums of squares: what was lost, of what there was.
struct QuantisationLoss {
  double lost = 0.0;
  double total = 0.0;

  void add(const QuantisationLoss& other) {
    lost += other.lost;
    total += other.total;
  }
  [[nodiscard]] double relative_rms() const;  // 0 where there was nothing
};

// Row `row` of the matrix at `matrix`. values.size() is a multiple of kQuantGroup; `importance` is
// empty or as long, of numbers ≥ 0. Adds to `loss`, without importance.
// Returns the first column that the type cannot hold; the row means nothing then.
[[nodiscard]] std::optional<size_t> quantise_row(DType to, std::span<const float> values,
                                                 std::span<const float> importance,
                                                 std::byte* matrix, uint64_t row,
                                                 QuantisationLoss& loss);

// The parts, for quantisers that choose otherwise.

struct Levels {
  float least;
  float most;
};

constexpr Levels levels_of(DType to) {  // Q8 or Q4
  return to == DType::q8 ? Levels{-127.0f, 127.0f} : Levels{-8.0f, 7.0f};
}

// The f16 scale (as float, maybe negative) for 32 values weighed by 32 importances.
// Nothing when no f16 scale reaches the largest of them. All values are finite.
[[nodiscard]] std::optional<float> group_scale(DType to, const float* values,
                                               const float* importance);
// The nearest level of `to` at that scale, which may be 0.
[[nodiscard]] float nearest_level(DType to, float value, float scale);

}  // namespace splitd

// Owns: in how large batches the tail should see a path of a draft. A row that stays out of a batch
// costs another one if the walk comes there after all; one that is in it costs its place there.
// One thread; allocates nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "runtime/decode/cost_curve.h"

namespace splitd {

class TailWaves {
 public:
  // `hopeful`: by the least that batches may cost.
  explicit TailWaves(const CostCurve& curve, bool hopeful = false)
      : curve_(curve), hopeful_(hopeful) {}

  // A row more, which the walk reaches with this probability. What is beyond a curve is left out.
  void add(double reach) {
    if (n_ == kMost) return;
    reach_[n_++] = reach;
    ms_[n_] = reach_[0] * cost(n_);
    for (uint32_t size = 1; size < n_; ++size) {
      const uint32_t first = (n_ - 1) / size * size;
      ms_[size] += reach_[first] * (cost(n_ - first) - cost(n_ - first - 1));
    }
  }

  // The size of batches that is expected to take the least time, the larger of equals; 0: no rows.
  uint32_t best() const {
    uint32_t best = std::min(n_, 1u);
    for (uint32_t size = 2; size <= n_; ++size) {
      if (ms_[size] <= ms_[best]) best = size;
    }
    return best;
  }
  double ms(uint32_t size) const { return ms_[size]; }  // expected, of all batches

 private:
  static constexpr uint32_t kMost = CostCurve::kMostRows;

  double cost(uint32_t n) const { return hopeful_ ? curve_.least(n) : curve_.at(n); }

  const CostCurve& curve_;
  bool hopeful_;
  uint32_t n_ = 0;
  std::array<double, kMost> reach_;
  std::array<double, kMost + 1> ms_{};  // by size
};

}  // namespace splitd

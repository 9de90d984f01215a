#include "runtime/decode/cost_curve.h"

#include <algorithm>

namespace splitd {
namespace {

constexpr double kFade = 0.98;        // of a point's weight, for each observation anywhere
constexpr double kForgotten = 0.05;   // a weight below which a point is dropped
constexpr double kMostWeight = 5;     // so that a point follows what changes slowly
constexpr double kPriorRows = 3;      // the prior slope counts as seen over so many rows
constexpr double kStrange = 1.5;      // times more or less than expected: held back at first
constexpr double kTinyMs = 0.2;       // differences below are no reason for anything
constexpr uint32_t kStrangeMore = 2;  // in a row that make it true: time is lost by accident…
constexpr uint32_t kStrangeLess = 1;  // …but never won

}  // namespace

void CostCurve::observe(uint32_t n_row, double ms) {
  const uint32_t n = std::clamp(n_row, 1u, kMostRows);
  for (Point& point : points_) {
    point.weight *= kFade;
    if (point.weight < kForgotten) point.weight = 0;
  }
  if (!admit(n, ms)) return;
  absorb(n, ms);
  ++n_seen_;
  fit();
}

// Whether the observation is to be believed. Several strange ones in a row mean that everything
// became slower or faster.
bool CostCurve::admit(uint32_t n, double ms) {
  // Where nothing was seen yet, nothing is strange; between two batches that were seen, a kernel's
  // step may stand anywhere.
  const bool known = is_known() && n <= last_ && n >= first_;
  uint32_t next = n;
  while (known && points_[next].weight == 0 && next < last_) ++next;
  const double high = fitted_[next], low = least(n);
  const double expected = ms > high ? high : ms < low ? low : ms;
  const double ratio = ms / std::max(expected, 1e-6);
  const bool more = ratio > kStrange && ms - expected > kTinyMs;
  const bool less = ratio < 1 / kStrange && expected - ms > kTinyMs;
  if (!known || (!more && !less)) {
    n_strange_ = 0;
    return true;
  }
  const bool same_side = n_strange_ > 0 && (strange_ > 1) == more;
  strange_ = !same_side ? ratio : more ? std::min(strange_, ratio) : std::max(strange_, ratio);
  n_strange_ = same_side ? n_strange_ + 1 : 1;
  if (n_strange_ < (more ? kStrangeMore : kStrangeLess)) return false;
  if (points_[n].weight > 0) rescale(strange_);
  n_strange_ = 0;
  return true;
}

void CostCurve::rescale(double factor) {
  for (Point& point : points_) {
    point.ms *= factor;
    point.weight *= 0.5;
  }
}

void CostCurve::absorb(uint32_t n, double ms) {
  Point& point = points_[n];
  point.weight = std::min(point.weight + 1, kMostWeight);
  point.ms += (ms - point.ms) / point.weight;
  if (point.weight < 1.5) point.ms = ms;
}

// The never falling curve that is nearest to the points (pool adjacent violators), straight between
// them.
void CostCurve::fit() {
  std::array<uint32_t, kMostRows + 1> rows;
  std::array<double, kMostRows + 1> value, weight;
  std::array<uint32_t, kMostRows + 1> n_pooled;
  uint32_t n_block = 0, n_point = 0;
  for (uint32_t n = 1; n <= kMostRows; ++n) {
    if (points_[n].weight == 0) continue;
    rows[n_point++] = n;
    value[n_block] = points_[n].ms;
    weight[n_block] = points_[n].weight;
    n_pooled[n_block++] = 1;
    while (n_block > 1 && value[n_block - 2] > value[n_block - 1]) {
      const uint32_t a = n_block - 2, b = n_block - 1;
      value[a] = (value[a] * weight[a] + value[b] * weight[b]) / (weight[a] + weight[b]);
      weight[a] += weight[b];
      n_pooled[a] += n_pooled[b];
      --n_block;
    }
  }
  uint32_t at = 0;
  for (uint32_t block = 0; block < n_block; ++block) {
    for (uint32_t i = 0; i < n_pooled[block]; ++i) fitted_[rows[at++]] = value[block];
  }
  first_ = rows[0];
  last_ = rows[n_point - 1];
  const double low = fitted_[first_], high = fitted_[last_];
  slope_ = (high - low + kPriorRows * prior_ * low) / (last_ - first_ + kPriorRows);
  for (uint32_t i = 0; i + 1 < n_point; ++i) {
    const uint32_t a = rows[i], b = rows[i + 1];
    for (uint32_t n = a + 1; n < b; ++n) {
      fitted_[n] = fitted_[a] + (fitted_[b] - fitted_[a]) * (n - a) / (b - a);
    }
  }
  for (uint32_t n = 1; n < first_; ++n) {
    fitted_[n] = std::max(0.25 * low, low - slope_ * (first_ - n));
  }
  for (uint32_t n = last_ + 1; n <= kMostRows; ++n) fitted_[n] = high + slope_ * (n - last_);
  for (uint32_t n = 1; n <= kMostRows; ++n) {
    least_[n] = n <= first_ || points_[n].weight > 0 ? fitted_[n] : least_[n - 1];
  }
}

double CostCurve::least(uint32_t n_row) const {
  return is_known() ? least_[std::min(n_row, kMostRows)] : 0;
}

double CostCurve::at(uint32_t n_row) const {
  if (!is_known() || n_row == 0) return 0;
  if (n_row <= kMostRows) return fitted_[n_row];
  return fitted_[kMostRows] + slope_ * (n_row - kMostRows);
}

}  // namespace splitd

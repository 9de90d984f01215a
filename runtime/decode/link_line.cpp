#include "runtime/decode/link_line.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace splitd {
namespace {

constexpr double kMostBelief = 2;  // what was believed of a row counts as frames so far apart
constexpr uint32_t kSpread = 2;    // rows by which frames must differ to tell about a row
constexpr int32_t kChanged = 3;    // strange frames in a row: the link is another
constexpr double kNoiseTimes = 4;  // strange: so many times the usual distance…
constexpr double kShare = 0.04;    // …or so much of the whole
constexpr double kTinyMs = 0.3;

struct Weighted {
  double value, weight;
};

double weighted_median(Weighted* first, Weighted* last) {
  std::sort(first, last, [](const Weighted& a, const Weighted& b) { return a.value < b.value; });
  double total = 0, sum = 0;
  for (const Weighted* w = first; w != last; ++w) total += w->weight;
  for (const Weighted* w = first; w != last; ++w) {
    sum += w->weight;
    if (sum * 2 >= total) return w->value;
  }
  return 0;
}

template <size_t N>
double median(std::array<double, N>& values, uint32_t n) {
  std::nth_element(values.begin(), values.begin() + n / 2, values.begin() + n);
  return values[n / 2];
}

}  // namespace

const LinkLine::Sample& LinkLine::sample(uint32_t i) const {
  return samples_[(next_ + kWindow - n_ + i) % kWindow];
}

void LinkLine::observe(uint32_t n_row, double ms) {
  const bool was_blind = is_blind();
  int32_t side = 0;
  if (n_ > 0) {
    const double off = ms - at(n_row);
    const double usual =
        std::max({kNoiseTimes * noise_ms_, kShare * std::max(ms, at(n_row)), kTinyMs});
    side = off > usual ? 1 : off < -usual ? -1 : 0;
    n_strange_ = side == 0 || n_strange_ * side < 0 ? side : n_strange_ + side;
  }
  samples_[next_] = {n_row, ms};
  next_ = (next_ + 1) % kWindow;
  n_ = std::min(n_ + 1, kWindow);
  if (std::abs(n_strange_) >= kChanged) {
    n_ = kChanged;
    n_strange_ = 0;
    // What a row costs now nobody knows unless these frames differ: who hopes for the best tries,
    // and knows one frame later.
    row_ms_ = 0;
    belief_ = 0;
  }
  fit();
  to_repeat_ = was_blind && side > 0 && !is_blind() ? n_row : 0;
}

// Theil and Sen: the median of what pairs of frames say of a row; then the median of what is left.
void LinkLine::fit() {
  std::array<Weighted, kWindow*(kWindow - 1) / 2 + 1> slopes;
  uint32_t n_slope = 0;
  for (uint32_t i = 0; i < n_; ++i) {
    for (uint32_t j = 0; j < i; ++j) {
      const Sample &a = sample(i), &b = sample(j);
      if (a.n_row == b.n_row) continue;
      const double rows = double(a.n_row) - double(b.n_row);
      slopes[n_slope++] = {(a.ms - b.ms) / rows, std::fabs(rows)};
    }
  }
  slopes[n_slope++] = {row_ms_, belief_};
  belief_ = std::min(belief_ + 0.25, kMostBelief);
  row_ms_ = std::max(0.0, weighted_median(slopes.data(), slopes.data() + n_slope));
  // Rows cannot have taken longer than the whole.
  for (uint32_t i = 0; i < n_; ++i) {
    row_ms_ = std::min(row_ms_, sample(i).ms / std::max(1u, sample(i).n_row));
  }
  std::array<double, kWindow> rest;
  for (uint32_t i = 0; i < n_; ++i) rest[i] = sample(i).ms - row_ms_ * sample(i).n_row;
  rtt_ms_ = std::max(0.0, median(rest, n_));
  for (uint32_t i = 0; i < n_; ++i) rest[i] = std::fabs(sample(i).ms - at(sample(i).n_row));
  noise_ms_ = median(rest, n_);
}

bool LinkLine::is_blind() const {
  if (n_ == 0) return true;
  uint32_t least = sample(0).n_row, most = least;
  for (uint32_t i = 1; i < n_; ++i) {
    least = std::min(least, sample(i).n_row);
    most = std::max(most, sample(i).n_row);
  }
  return most - least < kSpread;
}

}  // namespace splitd

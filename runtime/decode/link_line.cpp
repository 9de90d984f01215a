#include "runtime/decode/link_line.h"

#include <algorithm>
#include <cmath>

namespace splitd {
namespace {

constexpr double kMostBelief = 2;  // what was believed of a row counts as frames so far apart
constexpr uint32_t kOthers = 2;    // frames of other sizes tell about a row: one may be an accident
constexpr uint32_t kChanged = 3;   // strange frames in a row: the link is another
constexpr double kNoiseTimes = 4;  // strange: so many times the usual distance…
constexpr double kShare = 0.04;    // …or so much of the whole
constexpr double kTinyMs = 0.3;
constexpr double kAside = 0.004;  // of the whole

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

template <class T, size_t N>
T median(std::array<T, N>& values, uint32_t n) {
  std::nth_element(values.begin(), values.begin() + n / 2, values.begin() + n);
  return values[n / 2];
}

}  // namespace

const LinkLine::Sample& LinkLine::sample(uint32_t i) const {
  return samples_[(next_ + kWindow - n_ + i) % kWindow];
}

void LinkLine::observe(uint32_t n_row, double ms) {
  if (n_ > 0) {
    const double off = ms - at(n_row), most = std::max(ms, at(n_row));
    const bool strange =
        std::fabs(off) > std::max({kNoiseTimes * noise_ms_, kShare * most, kTinyMs});
    n_strange_ = strange ? n_strange_ + 1 : 0;
    const int32_t side = std::fabs(off) <= std::max(noise_ms_, kAside * most) ? 0
                         : off > 0                                            ? 1
                                                                              : -1;
    n_aside_ = side == 0 || n_aside_ * side < 0 ? side : n_aside_ + side;
  }
  samples_[next_] = {n_row, ms};
  next_ = (next_ + 1) % kWindow;
  n_ = std::min(n_ + 1, kWindow);
  if (n_strange_ >= kChanged) {
    n_ = kChanged;
    n_strange_ = 0;
    // What a row costs now nobody knows unless these frames differ: who hopes for the best tries,
    // and knows one frame later.
    row_ms_ = 0;
    belief_ = 0;
  }
  fit();
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
  std::array<double, kWindow> rest;
  for (uint32_t i = 0; i < n_; ++i) rest[i] = sample(i).ms - row_ms_ * sample(i).n_row;
  rtt_ms_ = std::max(0.0, median(rest, n_));
  for (uint32_t i = 0; i < n_; ++i) rest[i] = std::fabs(sample(i).ms - at(sample(i).n_row));
  noise_ms_ = median(rest, n_);
}

uint32_t LinkLine::usual_rows() const {
  std::array<uint32_t, kWindow> rows;
  for (uint32_t i = 0; i < n_; ++i) rows[i] = sample(i).n_row;
  return n_ == 0 ? 0 : median(rows, n_);
}

bool LinkLine::is_blind() const {
  const uint32_t usual = usual_rows();
  uint32_t n_other = 0;
  for (uint32_t i = 0; i < n_; ++i) n_other += sample(i).n_row != usual;
  return n_other < kOthers;
}

double LinkLine::least(uint32_t n_row) const {
  if (n_ == 0 || !is_blind()) return at(n_row);
  const uint32_t usual = usual_rows();
  return n_row >= usual ? at(usual) : at(usual) * n_row / usual;
}

}  // namespace splitd

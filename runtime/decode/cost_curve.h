// Owns: what a batch of n rows costs somewhere, learnt from batches as they come. A curve and not a
// line: a batch costs little more than one row until arithmetic outweighs the reading of weights,
// and kernels add steps of their own. It only assumes that more rows cost no less.
// One thread; allocates nothing.
#pragma once

#include <array>
#include <cstdint>

namespace splitd {

class CostCurve {
 public:
  static constexpr uint32_t kMostRows = 64;  // larger batches are estimated along the last slope

  // Before it was told: a row more costs `prior` of what one row costs.
  explicit CostCurve(double prior) : prior_(prior) {}

  void observe(uint32_t n_row, double ms);
  // Never negative; 0 before the first observation.
  double at(uint32_t n_row) const;
  // The least that it may cost for all that was seen: as much as the largest batch that was not
  // larger, since kernels have steps.
  double least(uint32_t n_row) const;
  bool is_known() const { return n_seen_ > 0; }

 private:
  struct Point {
    double ms = 0;
    double weight = 0;  // observations, the old ones fading; 0: none
  };

  bool admit(uint32_t n_row, double ms);
  void absorb(uint32_t n_row, double ms);
  void rescale(double factor);
  void fit();

  double prior_;
  uint64_t n_seen_ = 0;
  uint32_t first_ = 0, last_ = 0;               // rows of the smallest and largest batch remembered
  std::array<Point, kMostRows + 1> points_{};   // by rows
  std::array<double, kMostRows + 1> fitted_{};  // by rows, never falling
  std::array<double, kMostRows + 1> least_{};   // by rows, never falling either
  double slope_ = 0;                            // beyond last_
  uint32_t n_strange_ = 0;                      // observations in a row far off on one side
  double strange_ = 1;                          // the least of them, over what was expected
};

}  // namespace splitd

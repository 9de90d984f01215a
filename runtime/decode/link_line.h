// Owns: what the way there and back costs a frame of n rows: a round trip and so much a row, from
// the last frames alone, so that a link that changes is known after a few of them. One frame that a
// retransmission delayed changes nothing.
// One thread; allocates nothing.
#pragma once

#include <array>
#include <cstdint>

namespace splitd {

class LinkLine {
 public:
  void observe(uint32_t n_row, double ms);
  double at(uint32_t n_row) const { return rtt_ms_ + row_ms_ * n_row; }
  double rtt_ms() const { return rtt_ms_; }
  double row_ms() const { return row_ms_; }
  bool is_known() const { return n_ > 0; }
  // The rows of the last frame, where it alone says that a row is dear: that may have been an
  // accident, and a frame like it tells. 0: nothing to repeat.
  uint32_t to_repeat() const { return to_repeat_; }
  // Whether all frames since the link changed had about as many rows, so that nobody knows what a
  // row costs.
  bool is_blind() const;

 private:
  static constexpr uint32_t kWindow = 16;
  struct Sample {
    uint32_t n_row;
    double ms;
  };

  const Sample& sample(uint32_t i) const;  // 0: the oldest
  void fit();

  std::array<Sample, kWindow> samples_{};  // a ring
  uint32_t n_ = 0, next_ = 0;
  double rtt_ms_ = 0;
  double row_ms_ = 0;
  double belief_ = 0;    // what row_ms_ weighs against new frames, in rows
  double noise_ms_ = 0;  // the median distance from the line
  uint32_t to_repeat_ = 0;
  int32_t n_strange_ = 0;  // frames in a row far off: above the line > 0, below < 0
};

}  // namespace splitd

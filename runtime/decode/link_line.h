// Owns: what the way there and back costs a frame of n rows: a round trip and so much a row, from
// the last frames alone, so that a link that changes is known after a few of them. One frame that a
// retransmission delayed changes nothing.
// One thread; allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>

namespace splitd {

class LinkLine {
 public:
  void observe(uint32_t n_row, double ms);
  double at(uint32_t n_row) const { return rtt_ms_ + row_ms_ * n_row; }
  double rtt_ms() const { return rtt_ms_; }
  double row_ms() const { return row_ms_; }
  bool is_known() const { return n_ > 0; }
  // Whether all frames since the link changed but one at most had equally many rows, so that nobody
  // knows what a row costs.
  bool is_blind() const;
  // The least that n rows may cost for all that is known: all of it is the round trip for more rows
  // than were sent, all of it the rows for fewer, where is_blind().
  double least(uint32_t n_row) const;
  // Whether the last frames lie a little to one side, as when a link became another one on which
  // frames as large as these happen to take as long.
  bool is_drifting() const { return std::abs(n_aside_) >= kDrifting; }

 private:
  static constexpr uint32_t kWindow = 16;
  static constexpr int32_t kDrifting = 5;  // frames
  struct Sample {
    uint32_t n_row;
    double ms;
  };

  const Sample& sample(uint32_t i) const;  // 0: the oldest
  uint32_t usual_rows() const;
  void fit();

  std::array<Sample, kWindow> samples_{};  // a ring
  uint32_t n_ = 0, next_ = 0;
  double rtt_ms_ = 0;
  double row_ms_ = 0;
  double belief_ = 0;       // what row_ms_ weighs against new frames, in rows
  double noise_ms_ = 0;     // the median distance from the line
  int32_t n_aside_ = 0;     // frames in a row beside the line: above > 0, below < 0
  uint32_t n_strange_ = 0;  // frames in a row far off
};

}  // namespace splitd

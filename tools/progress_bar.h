// Owns: one line at the bottom of a terminal that shows how far long work is: what, a bar, a share,
// and how long it will still take. Redrawn at most ten times a second, wiped at its end.
// draw() and wipe() are thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "runtime/base/progress.h"

namespace splitd::cli {

class ProgressBar {
 public:
  explicit ProgressBar(int fd) : fd_(fd) {}
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { wipe(); }

  void draw(const Progress& progress);
  void wipe();  // the line is empty afterwards, the cursor at its beginning

 private:
  using Clock = std::chrono::steady_clock;

  int fd_;
  std::mutex mutex_;  // guards all below
  Clock::time_point drawn_at_{};
  Clock::time_point began_at_{};
  uint64_t began_with_ = 0;  // `done` when `what_` was first seen: resumed work is not our speed
  std::string what_;
  bool visible_ = false;
};

// "what  ━━━━────  42%  1:05 left", at most `width` columns; seconds_left < 0: not known.
[[nodiscard]] std::string progress_line(const Progress& progress, double seconds_left, int width);

}  // namespace splitd::cli

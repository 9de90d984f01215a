#include "tools/progress_bar.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/base/files.h"
#include "runtime/base/utf8.h"
#include "tools/output.h"

namespace splitd::cli {
namespace {

constexpr auto kRedrawEvery = std::chrono::milliseconds(100);
constexpr std::string_view kWipe = "\r\x1b[K";

int terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

// At most n_column characters; wide ones are counted as one, so names in CJK may wrap.
std::string cut_to(std::string_view text, size_t n_column) {
  std::string out = printable(text);
  if (utf8_length(out) <= n_column) return out;
  std::string_view rest = out;
  size_t bytes = 0;
  for (size_t i = 0; i + 1 < n_column; ++i) {
    const size_t length = utf8_decode(rest).length;
    bytes += length;
    rest.remove_prefix(length);
  }
  return out.substr(0, bytes) + "…";
}

std::string left_text(double seconds) {
  if (seconds < 0 || !std::isfinite(seconds) || seconds > 359'999) return {};
  const auto whole = static_cast<unsigned>(std::ceil(seconds));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%u:%02u:%02u left", whole / 3600, whole / 60 % 60,
                  whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%u:%02u left", whole / 60, whole % 60);
  }
  return text;
}

}  // namespace

std::string progress_line(const Progress& progress, double seconds_left, int width) {
  constexpr size_t kBarColumns = 24;
  constexpr size_t kTailColumns = 2 + kBarColumns + 2 + 4 + 2 + 14;
  const size_t columns = static_cast<size_t>(std::clamp(width - 1, 1, 200));
  if (progress.total == 0) {
    return cut_to(std::string(progress.what) + "  " + std::to_string(progress.done), columns);
  }
  const double share =
      std::min(1.0, static_cast<double>(progress.done) / static_cast<double>(progress.total));
  const std::string percent = std::to_string(static_cast<int>(share * 100)) + "%";
  if (columns < kTailColumns + 8) {
    const std::string tail = " " + percent;
    if (columns <= tail.size()) return percent.substr(0, columns);
    return cut_to(progress.what, columns - tail.size()) + tail;
  }
  std::string line = cut_to(progress.what, columns - kTailColumns) + "  ";
  const auto filled = static_cast<size_t>(share * kBarColumns);
  for (size_t i = 0; i < kBarColumns; ++i) line += i < filled ? "━" : "─";
  line += "  " + std::string(4 - std::min<size_t>(4, percent.size()), ' ') + percent;
  const std::string left = left_text(seconds_left);
  return left.empty() ? line : line + "  " + left;
}

void ProgressBar::draw(const Progress& progress) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (what_ != progress.what) {
    what_ = progress.what;
    began_at_ = now;
    began_with_ = progress.done;
  } else if (now - drawn_at_ < kRedrawEvery && progress.done != progress.total) {
    return;
  }
  double seconds_left = -1;
  const double seconds = std::chrono::duration<double>(now - began_at_).count();
  if (seconds > 1 && progress.done > began_with_ && progress.total >= progress.done) {
    seconds_left = seconds * static_cast<double>(progress.total - progress.done) /
                   static_cast<double>(progress.done - began_with_);
  }
  drawn_at_ = now;
  visible_ = true;
  // A terminal that went away must not stop the work.
  (void)write_all(fd_,
                  std::string(kWipe) + progress_line(progress, seconds_left, terminal_width(fd_)));
}

void ProgressBar::wipe() {
  const std::lock_guard lock(mutex_);
  if (!visible_) return;
  visible_ = false;
  (void)write_all(fd_, kWipe);
}

}  // namespace splitd::cli

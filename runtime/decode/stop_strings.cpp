// The match that is complete first wins, so the cuts between pieces do not matter; of two that end
// together, the longer one.
#include "runtime/decode/stop_strings.h"

#include <algorithm>
#include <utility>

namespace splitd {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

// Length of the longest end of held_ that begins a stop string.
size_t StopStrings::held_suffix() const {
  size_t longest = 0;
  const std::string_view held = held_;
  for (const std::string_view stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held.size()); length > longest; --length) {
      if (held.ends_with(stop.substr(0, length))) longest = length;
    }
  }
  return longest;
}

StopStrings::Step StopStrings::push(std::string_view piece) {
  held_.erase(0, n_shown_);
  held_ += piece;
  size_t first = std::string::npos;
  size_t first_end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < first_end || (end == first_end && begin < first)) {
      first = begin;
      first_end = end;
    }
  }
  if (first != std::string::npos) {
    held_.resize(first);
    n_shown_ = first;
    return {held_, true};
  }
  n_shown_ = held_.size() - held_suffix();
  return {std::string_view(held_).substr(0, n_shown_), false};
}

std::string StopStrings::finish() {
  held_.erase(0, std::exchange(n_shown_, 0));
  return std::exchange(held_, {});
}

}  // namespace splitd

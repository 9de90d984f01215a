// The earliest match wins; of two that begin together, either gives the same text.
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
  held_ += piece;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    held_.resize(first);
    return {std::exchange(held_, {}), true};
  }
  const size_t shown = held_.size() - held_suffix();
  Step step{held_.substr(0, shown), false};
  held_.erase(0, shown);
  return step;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace splitd

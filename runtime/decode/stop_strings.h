// Owns: finding stop strings in text that arrives in pieces, also across their borders. Text that
// could still become a stop string is held back. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace splitd {

class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  struct Step {
    std::string_view text;  // may be shown now; good until the next call
    bool stopped = false;   // a stop string was met; it and what follows is not in `text`
  };
  // Nothing may be pushed after a step that stopped.
  Step push(std::string_view piece);
  // The end of the text: what was held back.
  std::string finish();

 private:
  size_t held_suffix() const;

  std::vector<std::string> stops_;
  std::string held_;
  size_t n_shown_ = 0;  // bytes of held_ that the last step gave out
};

}  // namespace splitd

// Owns: the certain text as a drafter has taken it in so far. Texts come as a whole each step,
// sometimes cut back or another one; this finds out what of them is new. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace splitd {

class History {
 public:
  std::span<const uint32_t> tokens() const { return tokens_; }

  // Takes in `text` and `more`, one behind the other: on_token(token) for each that is new, before
  // it is here; where it is not the old text continued, on_restart() first, and then all of it is
  // new. Comparing costs some µs for a long text, and then nobody has to promise anything.
  template <class OnRestart, class OnToken>
  void follow(std::span<const uint32_t> text, std::span<const uint32_t> more,
              const OnRestart& on_restart, const OnToken& on_token) {
    const size_t n = text.size() + more.size();
    if (tokens_.size() > n || n_same(text, more) < tokens_.size()) {
      tokens_.clear();
      on_restart();
    }
    // Far ahead, so that a step hardly ever allocates.
    if (n > tokens_.capacity()) tokens_.reserve(n + std::max<size_t>(n / 2, 8192));
    for (size_t i = tokens_.size(); i < n; ++i) {
      const uint32_t token = i < text.size() ? text[i] : more[i - text.size()];
      on_token(token);
      tokens_.push_back(token);
    }
  }

  // Whether the text that is here begins so.
  bool holds(std::span<const uint32_t> text, std::span<const uint32_t> more) const {
    return n_same(text, more) == text.size() + more.size();
  }

 private:
  // Of the beginning.
  size_t n_same(std::span<const uint32_t> text, std::span<const uint32_t> more) const {
    const size_t n = std::min(tokens_.size(), text.size());
    if (!std::equal(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n), tokens_.begin())) {
      return 0;
    }
    size_t same = n;
    while (same < tokens_.size() && same - n < more.size() && tokens_[same] == more[same - n]) {
      ++same;
    }
    return same;
  }

  std::vector<uint32_t> tokens_;
};

}  // namespace splitd

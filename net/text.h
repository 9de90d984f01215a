// Owns: how bytes of a peer appear in messages, and strings that must not stay in memory.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace splitd::net {

// "text" in quotes, at most `most` bytes of it, with everything that is not printable ASCII, and
// quotes and backslashes, as \xNN: safe for terminals and logs.
[[nodiscard]] std::string quoted(std::string_view peer_bytes, size_t most = 80);

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);  // ASCII
[[nodiscard]] std::string lower_case(std::string_view text);                     // ASCII

// For secrets and what is compared with them: the time depends on the lengths alone.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);

// A token or key. Never printed or logged; its memory is overwritten when it goes. Copies are made
// only where a copy is meant: copy().
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}  // takes the bytes over
  Secret(Secret&& other) noexcept { *this = std::move(other); }
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(text_); }

  bool empty() const { return text_.empty(); }
  std::string_view reveal() const { return text_; }
  Secret copy() const { return Secret(text_); }

  // Overwrites all that the string owns and empties it.
  static void wipe(std::string& text);

 private:
  std::string text_;
};

}  // namespace splitd::net

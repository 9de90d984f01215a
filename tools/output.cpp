#include "tools/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/base/files.h"
#include "runtime/base/utf8.h"

namespace splitd::cli {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;

void append_escaped(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

// C0, DEL, C1, and the characters that reorder or break lines of what is around them.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

void Output::write(std::string_view text) {
  if (!status_.ok()) return;
  if (buffer_.size() + text.size() > kBufferBytes) {
    (void)flush();
    if (text.size() > kBufferBytes) return put(text);  // too large to be worth copying
  }
  buffer_ += text;
}

Status Output::flush() {
  put(buffer_);
  buffer_.clear();
  return status_;
}

void Output::put(std::string_view text) {
  if (!status_.ok() || text.empty()) return;
  while (true) {
    const ssize_t count = ::write(fd_, text.data(), text.size());
    if (count >= 0) {
      text.remove_prefix(static_cast<size_t>(count));
      if (text.empty()) return;
    } else if (errno == EAGAIN) {  // somebody who shares the pipe made it non-blocking
      pollfd ready{fd_, POLLOUT, 0};
      (void)::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      status_ = system_error("cannot write to " + name_);
      return;
    }
  }
}

bool Output::is_terminal() const {
  return ::isatty(fd_) == 1;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_decode(text);
    const std::string_view bytes = text.substr(0, step.length);
    if (!step.valid || is_control(step.code_point)) {
      append_escaped(out, bytes);
    } else {
      out += bytes;
    }
    text.remove_prefix(step.length);
  }
  return out;
}

std::string quoted(std::string_view text) {
  constexpr size_t kLongestBytes = 80;
  if (text.size() <= kLongestBytes) return "'" + printable(text) + "'";
  size_t end = kLongestBytes;
  while (end > 0 && (text[end] & '\xc0') == '\x80') --end;  // not inside a character
  return "'" + printable(text.substr(0, end)) + "…'";
}

}  // namespace splitd::cli

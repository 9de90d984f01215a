#include "tools/generate/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/base/files.h"

namespace splitd::cli {

static constexpr size_t kMaxLineBytes = size_t{64} << 20;

Result<LineReader::Got> LineReader::next(std::string& line) {
  // A signal that comes between the question and the wait does not end the wait: it is asked again.
  constexpr int kAskEveryMs = 100;
  while (true) {
    const size_t end = buffer_.find('\n', n_searched_);
    if (end != std::string::npos || (at_end_ && !buffer_.empty())) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      n_searched_ = 0;
      if (line.ends_with('\r')) line.pop_back();
      return Got::line;
    }
    if (at_end_) return Got::end;
    n_searched_ = buffer_.size();
    if (context_.cancelled()) {
      buffer_.clear();
      n_searched_ = 0;
      return Got::interrupted;
    }
    pollfd ready{context_.stdin_fd(), POLLIN, 0};
    if (::poll(&ready, 1, kAskEveryMs) == 0 || ready.revents == 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(context_.stdin_fd(), bytes, sizeof bytes);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0 && errno == EIO) at_end_ = true;  // the terminal went away
    if (count < 0 && errno != EIO) return system_error("cannot read stdin");
    if (count == 0) at_end_ = true;
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    if (buffer_.size() > kMaxLineBytes) {
      return usage_error("stdin: a line of more than " + std::to_string(kMaxLineBytes) + " bytes");
    }
  }
}

}  // namespace splitd::cli

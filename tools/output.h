// Owns: text on its way to a file descriptor that may be a full disk, a closed pipe or nothing at
// all. The first failure is kept, later writes are dropped, so a command writes freely and its end
// reports. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd::cli {

class Output {
 public:
  Output(int fd, std::string_view name) : fd_(fd), name_(name) {}  // name: "stdout"
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { (void)flush(); }

  // Buffered; what must be seen now (a token, a line on a terminal) is followed by flush().
  void write(std::string_view text);
  Status flush();

  bool ok() const { return status_.ok(); }  // false: nobody will ever read what is written
  bool is_terminal() const;
  int fd() const { return fd_; }

 private:
  void put(std::string_view text);

  int fd_;
  std::string name_;
  std::string buffer_;
  Status status_;
};

// For showing text that others wrote (names in a model file, a peer's message) on a terminal: bytes
// that are control characters or not UTF-8 become \x1b and the like.
[[nodiscard]] std::string printable(std::string_view text);

// 'text' in quotes for a message: printable, and cut where it is longer than a line's worth.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace splitd::cli

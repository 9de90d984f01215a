// A program on a terminal of its own, as a person uses it: what is typed goes in, what it shows
// comes out, both through a pseudo terminal. What does not come within a minute fails the test.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"

namespace splitd {

class PtyProcess {
 public:
  explicit PtyProcess(std::vector<std::string> words);
  PtyProcess(const PtyProcess&) = delete;
  PtyProcess& operator=(const PtyProcess&) = delete;
  ~PtyProcess();  // kills what still runs

  void type(std::string_view text);  // "\n" is Enter, "\x03" Ctrl-C, "\x04" Ctrl-D
  // Waits until `text` is shown behind what was waited for before. False: it ended or takes too
  // long.
  [[nodiscard]] bool shows(std::string_view text);
  // Waits for the end; 128 + N where signal N was it.
  [[nodiscard]] int exit_code();
  // All that was shown.
  const std::string& screen() const { return screen_; }

 private:
  bool read_more();

  pid_t child_ = -1;
  FileDescriptor terminal_;
  std::string screen_;
  size_t seen_ = 0;
};

}  // namespace splitd

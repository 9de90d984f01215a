#include "tests/tools/pty.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace splitd {

PtyProcess::PtyProcess(std::vector<std::string> words) {
  int terminal = -1;
  child_ = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child_ < 0) std::abort();
  if (child_ == 0) {
    ::setenv("TERM", "xterm", 1);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  terminal_ = FileDescriptor(terminal);
}

PtyProcess::~PtyProcess() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

void PtyProcess::type(std::string_view text) {
  (void)write_all(terminal_.get(), text);
}

bool PtyProcess::read_more() {
  constexpr int kTimeoutMs = 60'000;
  pollfd ready{terminal_.get(), POLLIN, 0};
  if (::poll(&ready, 1, kTimeoutMs) <= 0) return false;
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(terminal_.get(), buffer.data(), buffer.size());
  if (count <= 0) return false;  // EIO: the other side is closed
  screen_.append(buffer.data(), static_cast<size_t>(count));
  return true;
}

bool PtyProcess::shows(std::string_view text) {
  while (true) {
    const size_t at = screen_.find(text, seen_);
    if (at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    if (!read_more()) return false;
  }
}

int PtyProcess::exit_code() {
  while (read_more()) {
  }
  int status = 0;
  const pid_t child = child_;
  child_ = -1;
  if (::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace splitd

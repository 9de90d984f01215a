#include "tests/tools/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "runtime/base/files.h"

namespace splitd {
namespace {

struct Pipe {
  FileDescriptor read_end, write_end;
  Pipe() {
    std::array<int, 2> fds{-1, -1};
    if (::pipe2(fds.data(), O_CLOEXEC) != 0) std::abort();
    read_end = FileDescriptor(fds[0]);
    write_end = FileDescriptor(fds[1]);
  }
};

[[noreturn]] void become(const std::vector<std::string>& words, const ProcessOptions& options,
                         const Pipe& in, const Pipe& out, const Pipe& err) {
  ::dup2(in.read_end.get(), 0);
  ::dup2(out.write_end.get(), 1);
  ::dup2(err.write_end.get(), 2);
  if (!options.out_path.empty()) {
    ::dup2(::open(options.out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), 1);
  }
  if (options.close_fd >= 0) ::close(options.close_fd);
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(126);
  for (const std::string& variable : options.environment) {
    ::putenv(const_cast<char*>(variable.c_str()));
  }
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

// Appends what can be read; closes at the end of the stream.
void drain(FileDescriptor& from, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(from.get(), buffer.data(), buffer.size());
  if (count > 0) {
    to.append(buffer.data(), static_cast<size_t>(count));
  } else {
    from = FileDescriptor();
  }
}

void feed(FileDescriptor& to, std::string_view& left) {
  const ssize_t count = ::write(to.get(), left.data(), left.size());
  if (count > 0) left.remove_prefix(static_cast<size_t>(count));
  if (count < 0 || left.empty()) to = FileDescriptor();  // it may not want to read all of it
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& words, const ProcessOptions& options) {
  constexpr int kTimeoutMs = 60'000;
  ::signal(SIGPIPE, SIG_IGN);
  Pipe in;
  Pipe out;
  Pipe err;
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    become(words, options, in, out, err);
  }
  in.read_end = FileDescriptor();
  out.write_end = FileDescriptor();
  err.write_end = FileDescriptor();
  ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);

  ProcessResult result;
  std::string_view left = options.input;
  if (left.empty()) in.write_end = FileDescriptor();
  while (out.read_end.valid() || err.read_end.valid()) {
    std::array<pollfd, 3> ready = {pollfd{in.write_end.get(), POLLOUT, 0},
                                   pollfd{out.read_end.get(), POLLIN, 0},
                                   pollfd{err.read_end.get(), POLLIN, 0}};
    if (::poll(ready.data(), ready.size(), kTimeoutMs) == 0) {
      ::kill(child, SIGKILL);
      break;
    }
    if (ready[0].revents != 0) feed(in.write_end, left);
    if (ready[1].revents != 0) drain(out.read_end, result.out);
    if (result.out.size() >= options.leave_after) out.read_end = FileDescriptor();
    if (ready[2].revents != 0) drain(err.read_end, result.err);
  }
  int status = 0;
  rusage usage{};
  if (::wait4(child, &status, 0, &usage) == child) {
    result.max_resident = static_cast<uint64_t>(usage.ru_maxrss) << 10;
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return result;
}

}  // namespace splitd

// The process: signals, descriptors and arguments; everything else is run_app().
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <new>

#include "tools/app.h"
#include "tools/commands.h"

namespace {

// A descriptor 0, 1 or 2 that is closed would be given to the next file that is opened, and what is
// meant for stderr would land in it. It is held by /dev/null instead, opened the wrong way round,
// so that using it is still an error.
void hold_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free descriptor is this one: those below are open by now.
    (void)::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_descriptors();
  // A reader that went away is an error of write(), reported like any other.
  ::signal(SIGPIPE, SIG_IGN);
  try {
    const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    const std::vector<splitd::cli::Command> commands = splitd::cli::all_commands();
    return splitd::cli::run_app(commands, words, {});
  } catch (const std::bad_alloc&) {
    std::fputs("splitd: out of memory\n", stderr);
  }
  return 1;
}

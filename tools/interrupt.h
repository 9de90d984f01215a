// Owns: the process's one signal handler for SIGINT. Only the tools layer installs handlers; the
// library is told to stop through its ProgressFn. Thread-safe.
#pragma once

namespace splitd::cli {

// From the first call on, the first SIGINT is remembered and the second kills as if this did not
// exist. Blocking system calls are interrupted.
void watch_interrupts();
[[nodiscard]] bool interrupted();
// What was interrupted has ended and the program goes on: the next SIGINT is a first one again.
void forget_interrupt();

}  // namespace splitd::cli

// Owns: what a command is and what it is given to work with. A command is a table (flag.h) and a
// function; the frame parses, asks the configuration file, prints help and turns the function's
// Status into `splitd: <message>` on stderr and an exit code. How to add one: tools/README.md.
// A Context is used by the thread that runs the command; cancelled() may be called from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "tools/arguments.h"
#include "tools/flag.h"
#include "tools/output.h"

namespace splitd::cli {

class Context;
class ProgressBar;

struct Command {
  std::string_view name;
  std::string_view summary;                  // one phrase for the list of commands
  std::vector<Positional> positionals = {};  // optional ones last
  std::vector<FlagGroup> flags = {};         // --help, --config, --quiet, --verbose are everyone's
  std::vector<Example> examples = {};
  std::string_view notes = {};  // paragraphs under the flags in --help
  Status (*run)(Context& context) = nullptr;
};

// Where a command reads and writes; tests put pipes and memory files here.
struct Streams {
  int in = 0;
  int out = 1;
  int err = 2;
};

class Context {
 public:
  Context(const Command& command, Arguments arguments, Streams streams);
  ~Context();

  // Values by name. Asking for a name that the command's table lacks, or as another kind, is a bug
  // and aborts. Without a value and without a fallback: false, 0, "", {}.
  bool given(std::string_view name) const;  // by the user (arguments or file), also positionals
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  uint64_t size_bytes(std::string_view name) const;
  std::chrono::nanoseconds duration(std::string_view name) const;
  const std::string& text(std::string_view name) const;  // text, choice, file, directory
  const std::vector<std::string>& texts(std::string_view name) const;  // repeatable ones
  const std::vector<int64_t>& integers(std::string_view name) const;
  Range range(std::string_view name) const;

  const std::string& argument(std::string_view name) const;  // a positional: argument("MODEL")
  const std::vector<std::string>& rest(std::string_view name) const;  // one that repeats

  const Command& command() const { return command_; }
  Output& out() { return out_; }
  Output& err() { return err_; }
  int stdin_fd() const { return streams_.in; }
  bool stdin_is_terminal() const;
  // All of stdin as bytes. More than max_bytes is an error, and so is a closed stdin.
  Result<std::string> read_stdin(uint64_t max_bytes = uint64_t{1} << 30);

  bool quiet() const { return flag("quiet"); }
  // Warnings always, info unless --quiet, debug with --verbose; on stderr, a line each.
  // Thread-safe; it must not outlive the Context.
  Log log();
  // A bar on stderr where that is a terminal and --quiet is not given, else nothing is drawn;
  // either way it answers false once the user interrupts. One at a time; it must not outlive the
  // Context.
  ProgressFn progress();
  void end_progress();  // wipes the bar; done for you when the command ends
  // From the first call on (progress() is one), an interrupt sets this and the command has to end,
  // returning interrupted_error(); a second interrupt kills. Before it, an interrupt kills at once.
  bool cancelled() const;

 private:
  const Command& command_;
  Arguments arguments_;
  Streams streams_;
  Output out_;
  Output err_;
  std::set<std::string_view> given_;
  std::mutex err_mutex_;              // guards bar_ while log lines are written
  std::unique_ptr<ProgressBar> bar_;  // made by the first progress() on a terminal
};

[[nodiscard]] inline Error interrupted_error() {
  return {ErrorKind::interrupted, "interrupted"};
}

}  // namespace splitd::cli

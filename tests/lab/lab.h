// Owns: one run of the lab: both directions of the link, the server and the client on its ends,
// cuts when they are due, commands through a FIFO and signals, and the end of everything that was
// started. Signals are blocked and read from a descriptor, so that no handler is needed. The main
// thread alone.
#pragma once

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/lab/forwarder.h"
#include "tests/lab/network.h"
#include "tests/lab/options.h"

namespace splitd::lab {

inline constexpr int kExitTimeout = 124;
inline constexpr int kExitFailed = 125;
inline constexpr int kExitNotAllowed = 77;

// Both directions, running.
class LabLink {
 public:
  LabLink(const Network& network, const LabOptions& options);
  Status start();

  Status set(std::string_view name, std::string_view value);
  void cut(const CutPlan& plan);
  void resume();

  // Lines for a person: the link, what passed and was dropped, how late it left.
  std::string settings_text();
  std::string counters_text();

 private:
  LinkPair links_;
  Forwarder up_;
  Forwarder down_;
};

// The FIFO through which a running lab takes commands; its name goes with the object.
class Control {
 public:
  // Empty: one in a directory of its own.
  static Result<std::unique_ptr<Control>> make(const std::string& path);
  ~Control() { remove_name(); }
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void remove_name() const;
  const std::string& path() const { return path_; }
  int fd() const { return fifo_.get(); }

 private:
  Control() = default;

  std::string path_;
  std::string directory_;
  FileDescriptor fifo_;
};

class Lab {
 public:
  Lab(const LabOptions& options, Network& network, LabLink& link, Control& control);
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  // Before any thread is started: they inherit it.
  static void block_signals();

  // The exit status of the whole, as the help says.
  Result<int> run();

 private:
  struct Process {
    pid_t pid = -1;
    int status = -1;  // as a shell says it; -1: still running
    bool running() const { return pid > 0 && status < 0; }
  };

  Status start(Process& process, const NetworkEnd& end, const std::vector<std::string>& words,
               bool is_client);
  std::string replaced(std::string text) const;
  Status wait_for_server();
  void pump(Time until);
  void take_signals();
  void take_commands();
  Status obey(const std::string& line);
  void interrupt(int signal);
  void stop(Process& process);
  void reap();
  bool is_over() const;

  const LabOptions& options_;
  Network& network_;
  LabLink& link_;
  Control& control_;
  FileDescriptor signals_;
  std::string control_text_;  // of a line that is not complete
  std::vector<std::pair<Time, CutPlan>> cuts_;
  Process server_;
  Process client_;
  Time deadline_ = Time::max();
  int signal_ = 0;  // that ended the run
};

}  // namespace splitd::lab

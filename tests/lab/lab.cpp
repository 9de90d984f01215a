#include "tests/lab/lab.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace splitd::lab {
namespace {

constexpr std::chrono::seconds kGrace{5};
constexpr std::chrono::milliseconds kListenInterval{2};

sigset_t lab_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int one : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGTTOU}) {
    ::sigaddset(&signals, one);
  }
  return signals;
}

ForwarderOptions one_way(const NetworkEnd& from, const NetworkEnd& to, const LabOptions& options,
                         uint64_t seed) {
  return {from.tun.get(), to.tun.get(), options.network.mtu, seed, options.spin};
}

std::string one_way_text(std::string_view name, const ForwarderCounters& counters) {
  const Lateness& late = counters.lateness;
  return std::string(name) + ": " + std::to_string(counters.packets) + " packets, " +
         bytes_text(counters.bytes) + "; dropped " + std::to_string(counters.queue_full) +
         " by the queue, " + std::to_string(counters.lost) + " by loss, " +
         std::to_string(counters.cut) + " by cuts; left late by " + duration_text(late.share(0.5)) +
         " (median), " + duration_text(late.share(0.99)) + " (99 %), " + duration_text(late.max()) +
         " (most); " + duration_text(counters.cpu_time) + " of CPU\n";
}

std::string_view urgency_text(Urgency urgency) {
  switch (urgency) {
    case Urgency::realtime:
      return "real-time";
    case Urgency::nice:
      return "raised";
    case Urgency::none:
      break;
  }
  return "ordinary (busy cores make packets late)";
}

}  // namespace

LabLink::LabLink(const Network& network, const LabOptions& options)
    : links_(options.links),
      up_(one_way(network.client, network.server, options, 2 * options.seed), links_.up,
          links_.round_trip()),
      down_(one_way(network.server, network.client, options, 2 * options.seed + 1), links_.down,
            links_.round_trip()) {}

Status LabLink::start() {
  SPLITD_TRY(up_.start());
  return down_.start();
}

Status LabLink::set(std::string_view name, std::string_view value) {
  SPLITD_TRY(set_link(links_, name, value));
  up_.set(links_.up, links_.round_trip());
  down_.set(links_.down, links_.round_trip());
  return {};
}

void LabLink::cut(const CutPlan& plan) {
  const Time until = plan.time ? Clock::now() + *plan.time : Time::max();
  if (plan.up) up_.cut(until);
  if (plan.down) down_.cut(until);
}

void LabLink::resume() {
  up_.resume();
  down_.resume();
}

std::string LabLink::settings_text() {
  return link_text(links_, up_.queue_bytes(), down_.queue_bytes());
}

std::string LabLink::counters_text() {
  return one_way_text("up", up_.counters()) + one_way_text("down", down_.counters()) +
         "forwarding threads have " + std::string(urgency_text(up_.urgency())) + " priority\n";
}

Result<std::unique_ptr<Control>> Control::make(const std::string& path) {
  std::unique_ptr<Control> control(new Control);
  std::string name = path;
  if (name.empty()) {
    const char* parent = std::getenv("TMPDIR");
    std::string directory = std::string(parent != nullptr ? parent : "/tmp") + "/wan_lab-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) return system_error(directory);
    control->directory_ = directory;
    name = directory + "/control";
  }
  if (::mkfifo(name.c_str(), 0600) != 0) return system_error(name);
  control->path_ = name;
  // For writing too: so it never ends when a writer closes it.
  control->fifo_ = FileDescriptor(::open(name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!control->fifo_.valid()) return system_error(name);
  return control;
}

void Control::remove_name() const {
  if (!path_.empty()) ::unlink(path_.c_str());
  if (!directory_.empty()) ::rmdir(directory_.c_str());
}

Lab::Lab(const LabOptions& options, Network& network, LabLink& link, Control& control)
    : options_(options), network_(network), link_(link), control_(control) {}

void Lab::block_signals() {
  const sigset_t signals = lab_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

std::string Lab::replaced(std::string text) const {
  const std::array<std::pair<std::string_view, std::string>, 3> words = {
      {{"{server_ip}", network_.server.address},
       {"{client_ip}", network_.client.address},
       {"{port}", std::to_string(options_.port)}}};
  for (const auto& [name, value] : words) {
    for (size_t at = 0; (at = text.find(name, at)) != text.npos; at += value.size()) {
      text.replace(at, name.size(), value);
    }
  }
  return text;
}

Status Lab::start(Process& process, const NetworkEnd& end, const std::vector<std::string>& words,
                  bool is_client) {
  // All of it before the fork: the forwarding threads may hold any lock then.
  std::vector<std::string> texts;
  for (const std::string& word : words) texts.push_back(replaced(word));
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  std::vector<std::string> variables = {"WAN_LAB_CONTROL=" + control_.path(),
                                        "WAN_LAB_SERVER_IP=" + network_.server.address,
                                        "WAN_LAB_CLIENT_IP=" + network_.client.address};
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("WAN_LAB_")) environment.push_back(*variable);
  }
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);

  const bool on_terminal = is_client && ::isatty(0) == 1;
  SPLITD_ASSIGN(process.pid, fork_into(end, [&] {
                  if (on_terminal) {
                    ::signal(SIGTTOU, SIG_IGN);
                    ::tcsetpgrp(0, ::getpid());
                    ::signal(SIGTTOU, SIG_DFL);
                  } else if (!is_client) {
                    ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
                  }
                  ::execvpe(arguments[0], arguments.data(), environment.data());
                  std::fprintf(stderr, "wan_lab: %s: %s\n", arguments[0], std::strerror(errno));
                  return errno == ENOENT ? 127 : 126;
                }));
  return {};
}

bool Lab::is_over() const {
  return signal_ != 0 || Clock::now() >= deadline_;
}

// Until then, or until a signal said something: whoever waits asks again.
void Lab::pump(Time until) {
  Time next = std::min(until, deadline_);
  for (const auto& [at, plan] : cuts_) next = std::min(next, at);
  const int64_t left = next == Time::max()
                           ? 3'600'000'000'000
                           : std::max<int64_t>(0, Nanoseconds(next - Clock::now()).count());
  const timespec timeout = {left / 1'000'000'000, left % 1'000'000'000};
  std::array<pollfd, 2> ready = {pollfd{signals_.get(), POLLIN, 0},
                                 pollfd{control_.fd(), POLLIN, 0}};
  ::ppoll(ready.data(), ready.size(), &timeout, nullptr);
  if (ready[0].revents != 0) take_signals();
  if (ready[1].revents != 0) take_commands();
  const Time now = Clock::now();
  for (const auto& [at, plan] : cuts_) {
    if (at <= now) link_.cut(plan);
  }
  std::erase_if(cuts_, [&](const auto& cut) { return cut.first <= now; });
}

void Lab::take_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (static_cast<int>(info.ssi_signo)) {
      case SIGCHLD:
        reap();
        break;
      case SIGUSR1:
        link_.cut({});
        break;
      case SIGUSR2:
        link_.resume();
        break;
      case SIGINT:
      case SIGTERM:
      case SIGHUP:
        interrupt(static_cast<int>(info.ssi_signo));
        break;
      default:
        break;
    }
  }
}

void Lab::reap() {
  for (Process* process : {&server_, &client_}) {
    int status = 0;
    if (!process->running() || ::waitpid(process->pid, &status, WNOHANG) != process->pid) continue;
    process->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

void Lab::interrupt(int signal) {
  if (signal_ != 0 && client_.running()) ::kill(-client_.pid, SIGKILL);  // asked twice
  signal_ = signal;
  if (client_.running()) ::kill(-client_.pid, signal);
}

void Lab::take_commands() {
  std::array<char, 4096> buffer;
  ssize_t count = 0;
  while ((count = ::read(control_.fd(), buffer.data(), buffer.size())) > 0) {
    control_text_.append(buffer.data(), static_cast<size_t>(count));
  }
  for (size_t end = 0; (end = control_text_.find('\n')) != control_text_.npos;) {
    const Status status = obey(control_text_.substr(0, end));
    if (!status.ok())
      std::fprintf(stderr, "wan_lab: control: %s\n", status.error().message.c_str());
    control_text_.erase(0, end + 1);
  }
}

Status Lab::obey(const std::string& line) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string name = line.substr(0, space);
  const std::string value = space < line.size() ? line.substr(space + 1) : std::string();
  if (name == "cut") {
    SPLITD_ASSIGN(CutPlan plan, parse_cut(value));
    if (plan.at == Nanoseconds{0}) {
      link_.cut(plan);
    } else {
      cuts_.emplace_back(Clock::now() + plan.at, plan);
    }
    return {};
  }
  if (name == "resume") {
    link_.resume();
    return {};
  }
  return link_.set(name, value);
}

Status Lab::wait_for_server() {
  const Time limit = Clock::now() + options_.wait_for;
  while (!is_over() && server_.running() && !is_listening(server_.pid, options_.port)) {
    if (Clock::now() >= limit) {
      return failed("nothing listens on port " + std::to_string(options_.port) + " after " +
                    duration_text(options_.wait_for) + "; --wait-for says how long");
    }
    pump(Clock::now() + kListenInterval);
  }
  return {};
}

// SIGTERM, time to end in order, SIGKILL.
void Lab::stop(Process& process) {
  if (!process.running()) return;
  ::kill(-process.pid, SIGTERM);
  const Time limit = Clock::now() + kGrace;
  deadline_ = Time::max();
  while (process.running() && Clock::now() < limit) pump(limit);
}

Result<int> Lab::run() {
  if (options_.timeout > Nanoseconds{0}) deadline_ = Clock::now() + options_.timeout;
  const sigset_t signals = lab_signals();
  signals_ = FileDescriptor(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.valid()) return system_error("signalfd");
  SPLITD_TRY(start(server_, network_.server, {"/bin/sh", "-c", options_.server}, false));
  const Status listening = options_.port != 0 ? wait_for_server() : Status();
  const bool ready = listening.ok() && (options_.port == 0 || server_.running());
  if (ready && !is_over()) {
    SPLITD_TRY(start(client_, network_.client, options_.client, true));
    const Time begin = Clock::now();
    for (const CutPlan& cut : options_.cuts) cuts_.emplace_back(begin + cut.at, cut);
    while (client_.running() && !is_over()) pump(Time::max());
  }
  const bool timed_out = Clock::now() >= deadline_;
  if (signal_ != 0 && client_.running()) {
    const Time limit = Clock::now() + kGrace;
    while (client_.running() && Clock::now() < limit) pump(limit);
  }
  cuts_.clear();
  stop(client_);
  const bool server_was_running = server_.running();
  stop(server_);
  if (::isatty(0) == 1) ::tcsetpgrp(0, ::getpgrp());

  if (!listening.ok()) return listening.error();
  if (timed_out) return kExitTimeout;
  if (signal_ != 0 && (client_.status <= 0 || client_.status > 128)) return 128 + signal_;
  if (client_.status > 0) return client_.status;
  if (client_.pid < 0 && server_.status == 0) {
    return failed("the server ended before anything listened on port " +
                  std::to_string(options_.port));
  }
  // A server that was asked to end may end of that.
  if (server_was_running && server_.status == 128 + SIGTERM) return 0;
  return server_.status < 0 ? 128 + SIGKILL : server_.status;
}

}  // namespace splitd::lab

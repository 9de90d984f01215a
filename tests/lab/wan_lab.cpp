// wan_lab: the program. Owns the order of things: signals, namespaces, watchdog, link, commands,
// and that nothing is left behind. The help says the rest.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/lab/lab.h"
#include "tests/lab/self_test.h"

namespace splitd::lab {
namespace {

// Each line of a text, with the program's name in front.
void report(std::string text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::fprintf(stderr, "wan_lab: %s\n", text.substr(0, end).c_str());
    text.erase(0, end == text.npos ? end : end + 1);
  }
}

int fail(const Error& error) {
  std::fprintf(stderr, "wan_lab: %s\n", error.message.c_str());
  return kExitFailed;
}

int run_commands(const LabOptions& options, Network& network, Control& control) {
  LabLink link(network, options);
  Status started = link.start();
  if (!started.ok()) return fail(started.error());
  if (!options.quiet) {
    report(link.settings_text() + "; TCP congestion control " + network.congestion + "\n");
  }
  Lab lab(options, network, link, control);
  const Result<int> status = lab.run();
  if (!options.quiet) report(link.counters_text());
  return status.ok() ? status.value() : fail(status.error());
}

int run(const std::vector<std::string>& words) {
  const Result<LabOptions> parsed = parse_options(words);
  if (!parsed.ok()) return fail(parsed.error());
  const LabOptions& options = parsed.value();
  if (options.help) {
    std::fputs(help_text().data(), stdout);
    return 0;
  }
  Lab::block_signals();
  Result<Network> network = make_network(options.network);
  if (!network.ok()) {
    fail(network.error());
    return network.error().kind == ErrorKind::failed ? kExitNotAllowed : kExitFailed;
  }
  const Result<std::unique_ptr<Control>> control = Control::make(options.control);
  if (!control.ok()) return fail(control.error());
  Result<Watchdog> watchdog = start_watchdog(*network, [&] { control.value()->remove_name(); });
  if (!watchdog.ok()) return fail(watchdog.error());
  const int status = options.self_test ? self_test(options, *network)
                                       : run_commands(options, *network, *control.value());
  kill_members(*network, {::getpid(), watchdog->pid});
  ::kill(watchdog->pid, SIGKILL);  // or it would find this process in the namespace
  ::waitpid(watchdog->pid, nullptr, 0);
  return status;
}

}  // namespace
}  // namespace splitd::lab

int main(int argc, char** argv) {
  return splitd::lab::run(std::vector<std::string>(argv + 1, argv + argc));
}

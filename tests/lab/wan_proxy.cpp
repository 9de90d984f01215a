// wan_proxy: the stand-in of wan_lab as a program, where namespaces are not allowed. Owns its
// command line and the schedule of its faults; the proxy itself is proxy.h.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "tests/lab/options.h"
#include "tests/lab/proxy.h"

namespace splitd::lab {
namespace {

constexpr const char* kHelp =
    R"(usage: wan_proxy --target HOST:PORT [--listen HOST:PORT] [--rtt 80ms] [--rate 100M]
                 [--up RATE] [--down RATE] [--cut AT:FOR]… [--reset AT]…
A TCP proxy that delays and slows the bytes between a client and a server. IPv4 addresses.
  --listen   by default 127.0.0.1:0; the port is said on stderr: "listening on HOST:PORT"
  --cut      silence for a time, of which the connections learn nothing
  --reset    all connections are reset
AT counts from the start. Ends at SIGINT or SIGTERM and says what passed. It delays no handshake and
loses no packet: congestion control is loopback's. Use wan_lab where it may run.
)";

struct Options {
  ProxyOptions proxy;
  LinkPair links;
  struct Event {
    Nanoseconds at{0};
    enum class What : uint8_t { pause, resume, reset } what;
  };
  std::vector<Event> events;
};

Status set_address(std::string_view text, std::string& host, uint16_t& port) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return usage_error("\"" + std::string(text) + "\": HOST:PORT");
  SPLITD_ASSIGN(const uint64_t number, parse_count(text.substr(colon + 1), 65535));
  host = text.substr(0, colon);
  port = static_cast<uint16_t>(number);
  return {};
}

Status set_flag(Options& options, const std::string& flag, const std::string& value) {
  using What = Options::Event::What;
  if (flag == "--target") {
    return set_address(value, options.proxy.target_host, options.proxy.target_port);
  }
  if (flag == "--listen") {
    return set_address(value, options.proxy.listen_host, options.proxy.listen_port);
  }
  if (flag == "--reset") {
    SPLITD_ASSIGN(const Nanoseconds at, parse_duration(value));
    options.events.push_back({at, What::reset});
    return {};
  }
  if (flag == "--cut") {
    SPLITD_ASSIGN(const CutPlan cut, parse_cut(value));
    options.events.push_back({cut.at, What::pause});
    if (cut.time) options.events.push_back({cut.at + *cut.time, What::resume});
    return {};
  }
  for (const char* known : {"--rtt", "--rate", "--up", "--down", "--delay-up", "--delay-down"}) {
    if (flag == known) return set_link(options.links, flag.substr(2), value);
  }
  return usage_error("no such flag; see --help");
}

Status serve(const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return usage_error(words[i] + " needs a value");
    Status set = set_flag(options, words[i], words[i + 1]);
    if (!set.ok()) return std::move(set.take_error()).within(words[i]);
  }
  if (options.proxy.target_port == 0) return usage_error("--target is missing; see --help");
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);

  SPLITD_ASSIGN(const std::unique_ptr<WanProxy> proxy, WanProxy::start(options.proxy));
  proxy->set_delay(Direction::up, options.links.up.delay);
  proxy->set_delay(Direction::down, options.links.down.delay);
  proxy->set_rate(Direction::up, options.links.up.bits_per_second);
  proxy->set_rate(Direction::down, options.links.down.bits_per_second);
  std::fprintf(stderr, "listening on %s:%u\n", options.proxy.listen_host.c_str(), proxy->port());

  std::sort(options.events.begin(), options.events.end(),
            [](const auto& a, const auto& b) { return a.at < b.at; });
  const Time start = Clock::now();
  for (const Options::Event& event : options.events) {
    const int64_t left = std::max<int64_t>(0, Nanoseconds(start + event.at - Clock::now()).count());
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    if (::sigtimedwait(&signals, nullptr, &timeout) > 0) break;
    switch (event.what) {
      case Options::Event::What::pause:
        proxy->pause();
        break;
      case Options::Event::What::resume:
        proxy->resume();
        break;
      case Options::Event::What::reset:
        proxy->cut();
        break;
    }
    if (&event == &options.events.back()) ::sigwaitinfo(&signals, nullptr);
  }
  if (options.events.empty()) ::sigwaitinfo(&signals, nullptr);
  const ProxyCounters counters = proxy->counters();
  std::fprintf(stderr, "%lu connections, %lu refused; up %s, down %s\n",
               static_cast<unsigned long>(counters.accepted),
               static_cast<unsigned long>(counters.refused), bytes_text(counters.bytes_up).c_str(),
               bytes_text(counters.bytes_down).c_str());
  return {};
}

}  // namespace
}  // namespace splitd::lab

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "--help") {
    std::fputs(splitd::lab::kHelp, stdout);
    return 0;
  }
  const splitd::Status status = splitd::lab::serve(words);
  if (status.ok()) return 0;
  std::fprintf(stderr, "wan_proxy: %s\n", status.error().message.c_str());
  return static_cast<int>(status.error().kind);
}

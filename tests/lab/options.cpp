#include "tests/lab/options.h"

#include <algorithm>
#include <array>

namespace splitd::lab {
namespace {

constexpr std::string_view kHelp =
    R"(usage: wan_lab [LINK…] [--port N] --server 'SHELL COMMAND' -- CLIENT COMMAND…
       wan_lab [LINK…] [--port N] --server 'SHELL COMMAND' --client 'SHELL COMMAND'
       wan_lab [LINK…] --self-test [--seconds 2s] [--check]
Two network namespaces, joined by a link that delays, slows, drops and cuts real IP packets.
{server_ip}, {client_ip} and {port} are replaced in both commands.

link (up: client to server)
  --rtt 80ms            half of it each way; or --delay-up D, --delay-down D
  --rate 100M           bits a second of IP packets; or --up R, --down R; default none
  --queue 250K|BDP      what waits for the wire, then its tail is dropped; also --queue-up, -down;
                        default BDP: rate x RTT, but 30K at least
  --loss 0.5%           of the packets, at random; also --loss-up, --loss-down
  --seed N              of the losses
  --cut AT:FOR[:up|:down]   nothing passes, what is on its way is lost; may be repeated; AT counts
                        from the client's start
  --congestion bbr|cubic|…  TCP's in both namespaces, unless a program chooses
  --tcp-buffers 64M     the most TCP may take for a connection's window, instead of the system's
  --mtu 1500
  --spin 20us           how long before a packet is due its thread stops sleeping

commands
  --port N              start the client once the server listens there (--wait-for 60s)
  --timeout 60s         for everything; then 124
  --control PATH        a FIFO for lines such as: cut 2s [up|down] / cut / resume / rate 10M
                        (any link setting). The commands find it in $WAN_LAB_CONTROL; by default
                        it lies in a directory that is removed. SIGUSR1 is cut, SIGUSR2 resume
  --quiet               no report on stderr
The client's end ends the lab; the server gets SIGTERM, five seconds, SIGKILL. The exit status is
the client's; if that is 0, the server's. 124: timeout. 125: the lab itself failed. 77: namespaces
are not allowed here.
)";

constexpr std::array<std::string_view, 5> kSettings = {"rtt", "delay", "rate", "loss", "queue"};

// "loss-up" → "loss" and the direction; no suffix: both.
struct SettingName {
  std::string_view base;
  bool up = true;
  bool down = true;
};

SettingName split_name(std::string_view name) {
  if (name == "up") return {"rate", true, false};
  if (name == "down") return {"rate", false, true};
  if (name.ends_with("-up")) return {name.substr(0, name.size() - 3), true, false};
  if (name.ends_with("-down")) return {name.substr(0, name.size() - 5), false, true};
  return {name};
}

Status set_one(LinkSettings& link, std::string_view base, std::string_view value) {
  if (base == "delay") {
    SPLITD_ASSIGN(link.delay, parse_duration(value));
  } else if (base == "rate") {
    SPLITD_ASSIGN(link.bits_per_second, parse_rate(value));
  } else if (base == "loss") {
    SPLITD_ASSIGN(link.loss, parse_share(value));
  } else if (value == "BDP") {
    link.queue_bytes.reset();
  } else {
    SPLITD_ASSIGN(link.queue_bytes, parse_bytes(value));
  }
  return {};
}

std::string one_way_text(const LinkSettings& link, uint64_t queue_bytes) {
  std::string text = rate_text(link.bits_per_second);
  if (link.bits_per_second != 0) text += ", queue " + bytes_text(queue_bytes);
  std::array<char, 32> loss;
  std::snprintf(loss.data(), loss.size(), ", loss %.3g %%", link.loss * 100);
  return text + loss.data();
}

struct Flags {
  std::vector<std::string> words;
  size_t next = 0;

  bool done() const { return next == words.size(); }
  // The value of a flag, written --flag VALUE or --flag=VALUE.
  Result<std::string> value(std::string_view flag, std::optional<std::string>& attached) {
    if (attached) return std::exchange(attached, std::nullopt).value();
    if (done()) return usage_error(std::string(flag) + " needs a value");
    return words[next++];
  }
};

Status set_program_flag(LabOptions& options, std::string_view flag, const std::string& value) {
  if (flag == "--server") {
    options.server = value;
  } else if (flag == "--client") {
    options.client = {"/bin/sh", "-c", value};
  } else if (flag == "--control") {
    options.control = value;
  } else if (flag == "--congestion") {
    if (value.empty() || value.size() > 15) return usage_error("the name of an algorithm");
    options.network.congestion = value;
  } else if (flag == "--cut") {
    SPLITD_ASSIGN(const CutPlan cut, parse_cut(value));
    options.cuts.push_back(cut);
  } else if (flag == "--seed") {
    SPLITD_ASSIGN(options.seed, parse_count(value, UINT64_MAX));
  } else if (flag == "--spin") {
    SPLITD_ASSIGN(options.spin, parse_duration(value));
  } else if (flag == "--wait-for") {
    SPLITD_ASSIGN(options.wait_for, parse_duration(value));
  } else if (flag == "--timeout") {
    SPLITD_ASSIGN(options.timeout, parse_duration(value));
  } else if (flag == "--seconds") {
    SPLITD_ASSIGN(options.seconds, parse_duration(value));
  } else if (flag == "--port") {
    SPLITD_ASSIGN(const uint64_t port, parse_count(value, 65535));
    options.port = static_cast<uint16_t>(port);
  } else if (flag == "--tcp-buffers") {
    SPLITD_ASSIGN(options.network.tcp_buffer_bytes, parse_bytes(value));
  } else if (flag == "--mtu") {
    SPLITD_ASSIGN(options.network.mtu, parse_count(value, 65535));
    if (options.network.mtu < 576) return usage_error(value + ": from 576 to 65535");
  } else {
    return usage_error("no such flag; see --help");
  }
  return {};
}

}  // namespace

std::string_view help_text() {
  return kHelp;
}

bool is_link_setting(std::string_view name) {
  return std::find(kSettings.begin(), kSettings.end(), split_name(name).base) != kSettings.end();
}

Status set_link(LinkPair& links, std::string_view name, std::string_view value) {
  const SettingName setting = split_name(name);
  if (name == "rtt") {
    SPLITD_ASSIGN(const Nanoseconds round_trip, parse_duration(value));
    links.up.delay = round_trip / 2;
    links.down.delay = round_trip - links.up.delay;
    return {};
  }
  if (setting.base == "rtt" || !is_link_setting(name)) {
    return usage_error(
        "link setting \"" + std::string(name.substr(0, 60)) +
        "\": rtt, rate, up, down, loss, queue, delay; with -up or -down for one way");
  }
  LinkPair changed = links;
  if (setting.up) SPLITD_TRY(set_one(changed.up, setting.base, value));
  if (setting.down) SPLITD_TRY(set_one(changed.down, setting.base, value));
  links = changed;
  return {};
}

std::string link_text(const LinkPair& links, uint64_t queue_up, uint64_t queue_down) {
  return "RTT " + duration_text(links.round_trip()) + "; up " + one_way_text(links.up, queue_up) +
         "; down " + one_way_text(links.down, queue_down);
}

Result<CutPlan> parse_cut(std::string_view text) {
  std::vector<std::string_view> parts;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of(": "), rest.size());
    if (end > 0) parts.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  CutPlan cut;
  if (!parts.empty() && (parts.back() == "up" || parts.back() == "down")) {
    (parts.back() == "up" ? cut.down : cut.up) = false;
    parts.pop_back();
  }
  if (parts.size() > 2) {
    return usage_error("cut \"" + std::string(text.substr(0, 60)) +
                       "\": AT:FOR, then :up or :down for one way, such as 5s:2s");
  }
  if (parts.size() == 2) {
    SPLITD_ASSIGN(cut.at, parse_duration(parts[0]));
  }
  if (!parts.empty()) {
    SPLITD_ASSIGN(cut.time, parse_duration(parts.back()));
  }
  return cut;
}

Result<LabOptions> parse_options(const std::vector<std::string>& words) {
  LabOptions options;
  Flags flags{words};
  while (!flags.done()) {
    std::string flag = flags.words[flags.next++];
    if (flag == "--") {
      options.client.assign(flags.words.begin() + static_cast<ptrdiff_t>(flags.next),
                            flags.words.end());
      break;
    }
    std::optional<std::string> attached;
    if (const size_t equals = flag.find('='); flag.starts_with("--") && equals != flag.npos) {
      attached = flag.substr(equals + 1);
      flag.resize(equals);
    }
    if (!flag.starts_with("--")) {
      return usage_error("\"" + flag + "\": the client's command stands after --");
    }
    if (flag == "--help") {
      options.help = true;
    } else if (flag == "--self-test") {
      options.self_test = true;
    } else if (flag == "--check") {
      options.check = true;
    } else if (flag == "--quiet") {
      options.quiet = true;
    } else {
      SPLITD_ASSIGN(const std::string value, flags.value(flag, attached));
      const std::string_view name = std::string_view(flag).substr(2);
      Status set = is_link_setting(name) ? set_link(options.links, name, value)
                                         : set_program_flag(options, flag, value);
      if (!set.ok()) return std::move(set.take_error()).within(flag);
    }
    if (attached) return usage_error(flag + " takes no value");
  }
  if (options.help || options.self_test) return options;
  if (options.server.empty()) return usage_error("--server is missing; see --help");
  if (options.client.empty()) return usage_error("the client's command is missing; see --help");
  return options;
}

}  // namespace splitd::lab

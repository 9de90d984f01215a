// Owns: the command line of wan_lab, and the settings of a running link, which are the same words.
// Refuses what it does not know and names what would do. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/lab/link.h"
#include "tests/lab/network.h"

namespace splitd::lab {

struct LinkPair {
  LinkSettings up;    // client to server
  LinkSettings down;  // server to client

  Nanoseconds round_trip() const { return up.delay + down.delay; }
};

// ("rtt", "80ms"), ("rate", "100M"), ("loss-up", "1%"), … as the help lists them.
[[nodiscard]] Status set_link(LinkPair& links, std::string_view name, std::string_view value);
[[nodiscard]] bool is_link_setting(std::string_view name);
[[nodiscard]] std::string link_text(const LinkPair& links, uint64_t queue_up, uint64_t queue_down);

struct CutPlan {
  Nanoseconds at{0};                // after the client starts
  std::optional<Nanoseconds> time;  // none: until "resume"
  bool up = true;
  bool down = true;
};

// "5s:2s", "5s:2s:up"; without AT, as a running lab takes it: "2s", "2s up", "up", "".
[[nodiscard]] Result<CutPlan> parse_cut(std::string_view text);

struct LabOptions {
  LinkPair links;
  NetworkOptions network;
  std::vector<CutPlan> cuts;
  uint64_t seed = 1;
  Nanoseconds spin{20'000};
  std::string server;               // shell
  std::vector<std::string> client;  // words
  uint16_t port = 0;                // the client starts once the server listens there
  Nanoseconds wait_for{60'000'000'000};
  Nanoseconds timeout{0};  // of all; 0: none
  std::string control;     // a FIFO for commands
  bool quiet = false;
  bool help = false;
  bool self_test = false;
  bool check = false;                  // self-test: fail where the link gave more than it may
  Nanoseconds seconds{2'000'000'000};  // of each bulk transfer of the self-test
};

[[nodiscard]] Result<LabOptions> parse_options(const std::vector<std::string>& words);
[[nodiscard]] std::string_view help_text();

}  // namespace splitd::lab

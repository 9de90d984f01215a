// Owns: one direction of the lab: a thread that reads IP packets from one TUN device, asks the Link
// what becomes of each, and writes it to the other device when it is due. It sleeps until shortly
// before a packet is due and then spins, so that a figure is off by the wake-up of no timer; how
// late each packet left is counted. The thread runs ahead of everyone else where the system allows.
// All functions may
// be called from any other thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "runtime/base/files.h"
#include "tests/lab/link.h"
#include "tests/lab/mailbox.h"
#include "tests/lab/packet_line.h"

namespace splitd::lab {

// How late packets left, in classes an eighth of an octave wide.
class Lateness {
 public:
  void add(Nanoseconds late);
  uint64_t count() const { return count_; }
  Nanoseconds share(double part) const;  // 0.5: the median; the upper edge of its class
  Nanoseconds max() const { return max_; }

 private:
  std::array<uint64_t, 64 * 8> classes_{};
  uint64_t count_ = 0;
  Nanoseconds max_{0};
};

struct ForwarderCounters {
  uint64_t packets = 0;  // delivered
  uint64_t bytes = 0;
  uint64_t queue_full = 0;
  uint64_t lost = 0;
  uint64_t cut = 0;  // refused or dropped from the way
  Lateness lateness;
  Nanoseconds cpu_time{0};  // of the thread
};

struct ForwarderOptions {
  int from = -1;  // TUN devices, non-blocking; they outlive the forwarder
  int to = -1;
  size_t mtu = 1500;
  uint64_t seed = 1;
  Nanoseconds spin{20'000};  // before a packet is due
};

enum class Urgency : uint8_t { realtime, nice, none };

class Forwarder {
 public:
  Forwarder(const ForwarderOptions& options, const LinkSettings& settings, Nanoseconds round_trip);

  Status start();

  void set(const LinkSettings& settings, Nanoseconds round_trip);
  void cut(Time until);  // max(): until resume()
  void resume();

  ForwarderCounters counters();
  uint64_t queue_bytes();
  Urgency urgency();  // once started

 private:
  void run();
  void deliver_due();
  bool take_in();
  bool may_spin() const;
  bool has_spun_enough(Time now) const { return now - awake_since_ > 2 * options_.spin; }
  void wait_for_work();
  void give_way(Time slept_since);

  ForwarderOptions options_;
  // The thread's, once it runs.
  Link link_;
  PacketLine line_;
  ForwarderCounters counters_;
  Urgency urgency_ = Urgency::none;
  Time awake_since_{};
  Time window_start_{};  // see give_way()
  Nanoseconds window_slept_{0};
  Mailbox mailbox_;  // last: its thread ends first
};

}  // namespace splitd::lab

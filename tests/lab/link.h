// Owns: what one direction of a link does to what is put on it, as arithmetic over points in time:
// a queue of bytes with tail drop, a rate, random loss, a delay, and cuts. It holds no bytes, reads
// no clock and knows no descriptor, so all of it can be tested to the nanosecond. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "tests/lab/units.h"

namespace splitd::lab {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

enum class Direction : uint8_t { up, down };  // up: client to server

// A wire of a rate: when what was put on it has left. No rate (0): at once.
class Wire {
 public:
  Time send(Time now, uint64_t bytes, uint64_t bits_per_second);
  Time free_at() const { return free_at_; }
  // What waits or is being sent at `now`.
  uint64_t backlog_bytes(Time now, uint64_t bits_per_second) const;
  void clear() { free_at_ = Time{}; }

 private:
  Time free_at_{};
};

struct LinkSettings {
  Nanoseconds delay{0};          // one way
  uint64_t bits_per_second = 0;  // of IP packets, headers included; 0: no limit
  // Unset: one bandwidth-delay product of the whole round trip, but 30 KB at least.
  std::optional<uint64_t> queue_bytes;
  double loss = 0;  // share of the packets that left the queue
};

enum class Fate : uint8_t { delivered, queue_full, lost, cut };

struct Verdict {
  Fate fate = Fate::delivered;
  Time due{};  // of what is delivered; never before that of an earlier one
};

class Link {
 public:
  explicit Link(uint64_t seed) : random_(seed) {}

  // What happens to a packet that is put on the link now. Time must not run backwards.
  Verdict offer(Time now, uint64_t bytes);

  const LinkSettings& settings() const { return settings_; }
  // `round_trip` is that of both directions: the queue's default depends on it. What is on its way
  // already keeps its time; nothing overtakes it.
  void set(const LinkSettings& settings, Nanoseconds round_trip);
  uint64_t queue_bytes() const { return queue_bytes_; }

  // Nothing is taken until then; the owner drops what is on its way. max(): until resume().
  void cut(Time until);
  void resume() { down_until_ = Time{}; }
  bool is_cut(Time now) const { return now < down_until_; }

 private:
  LinkSettings settings_;
  uint64_t queue_bytes_ = UINT64_MAX;
  Wire wire_;
  Time last_due_{};
  Time down_until_{};
  std::mt19937_64 random_;
};

}  // namespace splitd::lab

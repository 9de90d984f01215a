#include "tests/lab/forwarder.h"

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <ctime>

namespace splitd::lab {
namespace {

constexpr Nanoseconds kWindow{10'000'000};
constexpr Nanoseconds kWindowSleep{1'000'000};
constexpr size_t kBatch = 16;  // packets taken in before those that are due get their turn

// Room for a full queue and a full way of packets of full size; short packets may make it grow.
size_t slots_for(const LinkSettings& settings, uint64_t queue_bytes, size_t mtu) {
  const double way = static_cast<double>(settings.bits_per_second) / 8e9 *
                     static_cast<double>(settings.delay.count());
  const double queue = settings.bits_per_second == 0 ? 0 : static_cast<double>(queue_bytes);
  const double slots = (way + queue) / static_cast<double>(mtu) * 1.2;
  return std::clamp(static_cast<size_t>(slots), size_t{2048}, size_t{1} << 16);
}

Link make_link(uint64_t seed, const LinkSettings& settings, Nanoseconds round_trip) {
  Link link(seed);
  link.set(settings, round_trip);
  return link;
}

// Ahead of the programs under test, which may use every core.
Urgency become_urgent() {
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  sched_param parameter{};
  parameter.sched_priority = 1;
  if (::sched_setscheduler(0, SCHED_FIFO, &parameter) == 0) return Urgency::realtime;
  return ::setpriority(PRIO_PROCESS, 0, -20) == 0 ? Urgency::nice : Urgency::none;
}

// The lab is IPv4; what the kernel says by itself in IPv6 must not disturb the sequence of losses.
bool is_ipv4(std::span<const std::byte> packet) {
  return !packet.empty() && (std::to_integer<unsigned>(packet[0]) >> 4) == 4;
}

}  // namespace

void Lateness::add(Nanoseconds late) {
  const uint64_t ns = static_cast<uint64_t>(std::max<int64_t>(late.count(), 0));
  const unsigned octave = ns < 8 ? 0 : static_cast<unsigned>(std::bit_width(ns)) - 3;
  const size_t within = octave == 0 ? ns & 7 : (ns >> (octave - 1)) & 7;
  ++classes_[std::min<size_t>(octave * 8 + within, classes_.size() - 1)];
  ++count_;
  max_ = std::max(max_, late);
}

Nanoseconds Lateness::share(double part) const {
  const double wanted = part * static_cast<double>(count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < classes_.size(); ++i) {
    seen += classes_[i];
    if (seen == 0 || static_cast<double>(seen) < wanted) continue;
    const uint64_t within = i % 8 + 1;
    const uint64_t edge = i < 8 ? within : (within + 8) << (i / 8 - 1);
    return std::min(Nanoseconds{static_cast<int64_t>(edge)}, max_);
  }
  return max_;
}

Forwarder::Forwarder(const ForwarderOptions& options, const LinkSettings& settings,
                     Nanoseconds round_trip)
    : options_(options),
      link_(make_link(options.seed, settings, round_trip)),
      line_(options.mtu, slots_for(settings, link_.queue_bytes(), options.mtu)) {}

Status Forwarder::start() {
  return mailbox_.start([this] { run(); });
}

void Forwarder::set(const LinkSettings& settings, Nanoseconds round_trip) {
  mailbox_.call([&] { link_.set(settings, round_trip); });
}

void Forwarder::cut(Time until) {
  mailbox_.call([&] {
    link_.cut(until);
    counters_.cut += line_.size();
    line_.clear();
  });
}

void Forwarder::resume() {
  mailbox_.call([&] { link_.resume(); });
}

ForwarderCounters Forwarder::counters() {
  ForwarderCounters copy;
  mailbox_.call([&] {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    copy = counters_;
    copy.cpu_time = std::chrono::seconds(used.tv_sec) + Nanoseconds(used.tv_nsec);
  });
  return copy;
}

uint64_t Forwarder::queue_bytes() {
  uint64_t bytes = 0;
  mailbox_.call([&] { bytes = link_.queue_bytes(); });
  return bytes;
}

Urgency Forwarder::urgency() {
  Urgency urgency = Urgency::none;
  mailbox_.call([&] { urgency = urgency_; });
  return urgency;
}

void Forwarder::run() {
  urgency_ = become_urgent();
  awake_since_ = window_start_ = Clock::now();
  while (!mailbox_.is_stopping()) {
    mailbox_.run_pending();
    deliver_due();
    const bool busy = take_in() || may_spin();
    const Time before = Clock::now();
    if (!busy) wait_for_work();
    give_way(before);
  }
}

// The next packet is due in less time than a timer is late. Without an end to it a fast link would
// keep a core for ever.
bool Forwarder::may_spin() const {
  const Time now = Clock::now();
  return !line_.empty() && line_.due() - now <= options_.spin && !has_spun_enough(now);
}

void Forwarder::deliver_due() {
  Time now = Clock::now();
  for (size_t i = 0; i < kBatch && !line_.empty(); ++i) {
    if (line_.due() > now) return;
    const std::span<const std::byte> packet = line_.front();
    if (::write(options_.to, packet.data(), packet.size()) >= 0) {
      ++counters_.packets;
      counters_.bytes += packet.size();
    }
    counters_.lateness.add(now - line_.due());
    line_.pop();
    now = Clock::now();
  }
}

// False: nothing was there to be read.
bool Forwarder::take_in() {
  for (size_t i = 0; i < kBatch; ++i) {
    std::array<std::byte, 1> scrap;
    const bool full = line_.is_full();
    const std::span<std::byte> room = full ? std::span<std::byte>(scrap) : line_.back();
    const ssize_t count = ::read(options_.from, room.data(), room.size());
    if (count <= 0) return i > 0;
    const std::span<const std::byte> packet = room.first(static_cast<size_t>(count));
    if (!is_ipv4(packet)) continue;
    const Verdict verdict =
        full ? Verdict{Fate::queue_full} : link_.offer(Clock::now(), packet.size());
    switch (verdict.fate) {
      case Fate::delivered:
        line_.push(packet.size(), verdict.due);
        break;
      case Fate::queue_full:
        ++counters_.queue_full;
        break;
      case Fate::lost:
        ++counters_.lost;
        break;
      case Fate::cut:
        ++counters_.cut;
        break;
    }
  }
  return true;
}

void Forwarder::wait_for_work() {
  std::array<pollfd, 2> ready = {pollfd{options_.from, POLLIN, 0},
                                 pollfd{mailbox_.fd(), POLLIN, 0}};
  const Time now = Clock::now();
  const Nanoseconds early = has_spun_enough(now) ? Nanoseconds{0} : options_.spin;
  timespec timeout{};
  if (!line_.empty()) {
    const Nanoseconds left = std::max(Nanoseconds{0}, Nanoseconds(line_.due() - now) - early);
    timeout.tv_sec = left.count() / 1'000'000'000;
    timeout.tv_nsec = left.count() % 1'000'000'000;
  }
  ::ppoll(ready.data(), ready.size(), line_.empty() ? nullptr : &timeout, nullptr);
  awake_since_ = Clock::now();
}

// Linux stops real-time threads for 50 ms once they have used 950 ms of a second. So who has not
// slept enough by itself sleeps now: at most a millisecond of every ten.
void Forwarder::give_way(Time slept_since) {
  if (urgency_ != Urgency::realtime) return;
  Time now = Clock::now();
  window_slept_ += now - slept_since;
  if (now - window_start_ < kWindow) return;
  if (window_slept_ < kWindowSleep) {
    const timespec rest{0, Nanoseconds(kWindowSleep - window_slept_).count()};
    ::nanosleep(&rest, nullptr);
    awake_since_ = now = Clock::now();
  }
  window_start_ = now;
  window_slept_ = Nanoseconds{0};
}

}  // namespace splitd::lab

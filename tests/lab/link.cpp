#include "tests/lab/link.h"

#include <algorithm>

namespace splitd::lab {
namespace {

constexpr uint64_t kLeastQueueBytes = 30'000;  // twice the ten segments TCP starts with

}  // namespace

Time Wire::send(Time now, uint64_t bytes, uint64_t bits_per_second) {
  if (bits_per_second == 0) {
    free_at_ = std::max(free_at_, now);
    return now;
  }
  const double ns = static_cast<double>(bytes) * 8e9 / static_cast<double>(bits_per_second);
  free_at_ = std::max(free_at_, now) + Nanoseconds{static_cast<int64_t>(ns + 0.5)};
  return free_at_;
}

uint64_t Wire::backlog_bytes(Time now, uint64_t bits_per_second) const {
  if (bits_per_second == 0 || free_at_ <= now) return 0;
  const double ns = static_cast<double>(Nanoseconds(free_at_ - now).count());
  return static_cast<uint64_t>(ns * static_cast<double>(bits_per_second) / 8e9 + 0.5);
}

void Link::set(const LinkSettings& settings, Nanoseconds round_trip) {
  settings_ = settings;
  if (settings.queue_bytes) {
    queue_bytes_ = *settings.queue_bytes;
  } else if (settings.bits_per_second == 0) {
    queue_bytes_ = UINT64_MAX;
  } else {
    const double seconds = static_cast<double>(round_trip.count()) / 1e9;
    const double product = seconds * static_cast<double>(settings.bits_per_second) / 8;
    queue_bytes_ = std::max(static_cast<uint64_t>(product), kLeastQueueBytes);
  }
}

Verdict Link::offer(Time now, uint64_t bytes) {
  if (is_cut(now)) return {Fate::cut};
  const uint64_t rate = settings_.bits_per_second;
  // An idle wire takes a packet of any size; the queue is what waits behind the one being sent.
  const uint64_t backlog = wire_.backlog_bytes(now, rate);
  if (backlog > 0 && backlog + bytes > queue_bytes_) return {Fate::queue_full};
  const Time sent = wire_.send(now, bytes, rate);
  if (settings_.loss > 0) {
    const double draw = static_cast<double>(random_() >> 11) * 0x1p-53;
    if (draw < settings_.loss) return {Fate::lost};  // it took its time on the wire all the same
  }
  last_due_ = std::max(last_due_, sent + settings_.delay);
  return {Fate::delivered, last_due_};
}

void Link::cut(Time until) {
  down_until_ = until;
  wire_.clear();
}

}  // namespace splitd::lab

#include "tests/lab/proxy.h"

#include "tests/lab/proxy_loop.h"

namespace splitd::lab {

WanProxy::WanProxy(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
WanProxy::~WanProxy() = default;

Result<std::unique_ptr<WanProxy>> WanProxy::start(const ProxyOptions& options) {
  auto loop = std::make_unique<Loop>(options);
  SPLITD_TRY(loop->listen());
  SPLITD_TRY(loop->start());
  return std::unique_ptr<WanProxy>(new WanProxy(std::move(loop)));
}

uint16_t WanProxy::port() const {
  return loop_->port();
}

void WanProxy::set_target_port(uint16_t port) {
  loop_->call([&] { loop_->set_target_port(port); });
}

void WanProxy::set_round_trip(Nanoseconds round_trip) {
  loop_->call([&] {
    loop_->link(Direction::up).delay = round_trip / 2;
    loop_->link(Direction::down).delay = round_trip - round_trip / 2;
  });
}

void WanProxy::set_delay(Direction direction, Nanoseconds delay) {
  loop_->call([&] { loop_->link(direction).delay = delay; });
}

void WanProxy::set_rate(uint64_t bits_per_second) {
  set_rate(Direction::up, bits_per_second);
  set_rate(Direction::down, bits_per_second);
}

void WanProxy::set_rate(Direction direction, uint64_t bits_per_second) {
  loop_->call([&] { loop_->link(direction).bits_per_second = bits_per_second; });
}

void WanProxy::cut(Cut how) {
  loop_->call([&] { loop_->cut(how); });
}

void WanProxy::cut_after(Direction direction, uint64_t bytes, Cut how) {
  loop_->call([&] { loop_->cut_after(direction, bytes, how); });
}

void WanProxy::pause(Direction direction) {
  loop_->call([&] { loop_->link(direction).paused = true; });
}

void WanProxy::pause() {
  pause(Direction::up);
  pause(Direction::down);
}

void WanProxy::resume() {
  loop_->call([&] { loop_->resume(); });
}

void WanProxy::vanish(End end) {
  loop_->call([&] { loop_->vanish(end); });
}

void WanProxy::set_refusing(bool refusing) {
  loop_->call([&] { loop_->set_refusing(refusing); });
}

ProxyCounters WanProxy::counters() const {
  return loop_->counters();
}

bool WanProxy::wait_for_bytes(Direction direction, uint64_t bytes,
                              std::chrono::milliseconds limit) const {
  return loop_->wait(
      [&](const ProxyCounters& counters) {
        return (direction == Direction::up ? counters.bytes_up : counters.bytes_down) >= bytes;
      },
      limit);
}

bool WanProxy::wait_for_open(uint64_t connections, std::chrono::milliseconds limit) const {
  return loop_->wait([&](const ProxyCounters& counters) { return counters.open == connections; },
                     limit);
}

}  // namespace splitd::lab

// Owns: a TCP proxy with the faults of a wide-area network, for tests and for machines where the
// lab's namespaces are not allowed. It listens on loopback, connects every connection to a target,
// and delays, slows, cuts, silences or half-opens what passes. Exact about bytes: what is delivered
// is a prefix of what was sent, and cut_after() cuts between two bytes of choice.
// What it is not: packets. There is no loss, TCP's handshake costs nothing by itself (the first
// bytes wait for it instead), and each end's kernel acknowledges at once, so retransmission and
// congestion control see loopback. All functions may be called from any thread, and have taken
// effect when they return.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/lab/link.h"

namespace splitd::lab {

enum class Cut : uint8_t {
  reset,  // both ends see the connection reset
  close,  // both ends see an orderly end of the stream
};

enum class End : uint8_t { client, target };

struct ProxyOptions {
  std::string target_host = "127.0.0.1";  // an IPv4 address
  uint16_t target_port = 0;
  std::string listen_host = "127.0.0.1";
  uint16_t listen_port = 0;  // 0: one that is free
};

struct ProxyCounters {
  uint64_t accepted = 0;  // connections, ever
  uint64_t open = 0;      // connections, now
  uint64_t refused = 0;   // connections, by set_refusing() or because the target was not there
  uint64_t bytes_up = 0;  // delivered, over all connections
  uint64_t bytes_down = 0;
  uint64_t cuts = 0;  // connections ended by cut() and cut_after()
};

class WanProxy {
 public:
  [[nodiscard]] static Result<std::unique_ptr<WanProxy>> start(const ProxyOptions& options);
  ~WanProxy();  // resets every connection
  WanProxy(const WanProxy&) = delete;
  WanProxy& operator=(const WanProxy&) = delete;

  uint16_t port() const;
  // Where later connections go: a body that was started again.
  void set_target_port(uint16_t port);

  // --- The link. All connections share it. Delays are one way.
  void set_round_trip(Nanoseconds round_trip);  // half of it each way
  void set_delay(Direction direction, Nanoseconds delay);
  void set_rate(uint64_t bits_per_second);  // 0: no limit
  void set_rate(Direction direction, uint64_t bits_per_second);

  // --- Faults
  // Ends every connection; what is on its way is lost, and no cut_after() stands any longer. New
  // connections are welcome.
  void cut(Cut how = Cut::reset);
  // After exactly that many more bytes of the direction, counted over all connections: cut(how).
  // 0 is at once. Its receiver's kernel holds the bytes before it learns of the cut. A later call
  // for the same direction takes the place of an earlier one.
  void cut_after(Direction direction, uint64_t bytes, Cut how = Cut::reset);
  // Silence: connections stand and nothing passes, in this direction or in both, for those that
  // come as well. Nothing is lost: resume() goes on where it stopped.
  void pause(Direction direction);
  void pause();
  void resume();
  // Half-open connections: `end` sees a reset, the other end is told nothing and what it sends
  // disappears. New connections are welcome.
  void vanish(End end);
  // Whether new connections are reset at once.
  void set_refusing(bool refusing);

  // --- Watching, instead of sleeping
  ProxyCounters counters() const;
  // Until that many bytes of the direction have been delivered in all. False: not in that time.
  [[nodiscard]] bool wait_for_bytes(Direction direction, uint64_t bytes,
                                    std::chrono::milliseconds limit) const;
  [[nodiscard]] bool wait_for_open(uint64_t connections, std::chrono::milliseconds limit) const;

 private:
  class Loop;
  explicit WanProxy(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace splitd::lab

// Owns: the connecting end, for one thread that submits and waits. That thread writes and reads the
// socket itself (a few µs of spinning, then poll), so nothing is handed between threads on the way
// of a reply; whenever it does not wait, the I/O thread reads, answers pings and notices a dead
// peer. Refuses a peer that is silent for kPong after a ping. Calls of one Client come from one
// thread at a time, except those marked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/channel.h"
#include "net/loop.h"

namespace splitd::net {

struct ClientOptions {
  std::string host;
  uint16_t port = 0;
  std::shared_ptr<TlsContext> tls;  // null: plain
  bool websocket = false;
  std::string congestion;  // "bbr"; empty: the system's
  FrameLimits frames;      // what the peer may send; change it after its welcome
  milliseconds connect_timeout = limits::kConnect;
  milliseconds ping_after = limits::kPingAfterSilence;
  milliseconds pong_timeout = limits::kPong;
  std::chrono::microseconds spin = limits::kClientSpin;
};

struct ClientTraffic {
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

class Client {
 public:
  // Connects, shakes hands and upgrades. `io` must outlive the client. Retrying is the caller's
  // policy: `was_lost` tells a connection that stood and broke, or ended with nothing said, from an
  // address that nobody answers at and from a refusal.
  static Result<std::unique_ptr<Client>> connect(LoopThread& io, const ClientOptions& options,
                                                 const Wait& wait, bool* was_lost = nullptr);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Never blocks on the peer: what the socket does not take is sent by the I/O thread. Large
  // messages are encrypted there too, while the caller computes.
  [[nodiscard]] Status send(std::string_view header, std::span<const std::byte> payload = {});
  // `fill(std::span<std::byte>)` writes the payload where it is sent from.
  template <class Fill>
  [[nodiscard]] Status send_filled(std::string_view header, size_t payload_bytes, Fill&& fill) {
    Sending sending(*this, header, payload_bytes);
    if (sending.open) fill(sending.payload);
    return sending.finish();
  }
  // The next message; nothing when the deadline passes, after which the client is as it was. It
  // lives until release() or the next receive: decode it, then release() it, so that the I/O thread
  // can read on while this thread computes.
  [[nodiscard]] Result<std::optional<Frame>> receive_until(const Wait& wait);
  // …and the deadline is an error.
  [[nodiscard]] Result<Frame> receive(const Wait& wait);
  void release();

  void set_frame_limits(FrameLimits limits);
  void close();  // says goodbye, as far as that does not block

  // --- Any thread
  bool is_open() const;
  bool was_lost() const;  // as in connect()
  uint64_t unsent_bytes() const;
  ClientTraffic traffic() const;
  std::string_view transport_name() const;  // "tcp", "tls", "ws", "wss"
  bool is_resumed() const;
  // The shortest round trip of a ping so far; one is sent on connecting and in every silence.
  std::optional<Clock::duration> min_round_trip() const;
  // Asks for another measurement now.
  void ping();

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  struct Sending {  // locks
    Sending(Client& client, std::string_view header, size_t payload_bytes);
    ~Sending();
    Status finish();  // unlocks and sends
    Client& client;
    bool open = false;
    std::span<std::byte> payload;
  };
  std::unique_ptr<State> state_;
};

}  // namespace splitd::net

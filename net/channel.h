// Owns: one message channel over a byte pipe, without the pipe: bytes in, events out, bytes out. In
// layers: TLS or not (the first byte tells) → HTTP upgrade to WebSocket, or raw frames (the first
// byte tells again) → frames. Pings of the transport (splitd's and WebSocket's) are answered here
// and never seen above. Refuses what net/PROTOCOL.md does not allow; an error ends the channel's
// receiving side, and pending() then holds the goodbye that the peer may read. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/frame.h"
#include "net/wait.h"
#include "net/websocket.h"

namespace splitd::net {

class TlsContext;

enum class Role : uint8_t { server, client };

struct ChannelOptions {
  Role role = Role::server;
  // Null: plain. A server with TLS refuses everything plain but probes from loopback.
  std::shared_ptr<TlsContext> tls = {};
  bool from_loopback = false;  // server: where the peer is
  bool websocket = false;      // client: what to speak; a server takes what comes
  std::string host = {};       // client: "host:port" of the Host field and, without port, of SNI
  FrameLimits frames = {};
};

enum class ChannelEvent : uint8_t {
  need_more,     // feed, or nothing to do
  opened,        // transport and handshakes are done: messages may be sent. Once.
  message,       // frame() is it
  http_request,  // a probe: request() is it; answer with answer_http()
  closed,        // the peer ended in order
};

struct HttpRequest {
  std::string_view method;  // "GET" or "HEAD"
  std::string_view target;  // "/healthz"
  bool secure = false;      // came through TLS
};

class Channel {
 public:
  explicit Channel(ChannelOptions options);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // --- Bytes in
  // Where the transport's next bytes go, never empty; commit() says how many came.
  std::span<std::byte> prepare();
  void commit(size_t count);
  void feed(std::span<const std::byte> bytes);  // prepare, copy, commit
  void feed_end();                              // the peer's end of stream

  // --- Events. Call until need_more, closed or an error.
  [[nodiscard]] Result<ChannelEvent> next();
  // Valid from a `message` until the next call that takes bytes in or asks for an event.
  const Frame& frame() const;
  std::string_view header_text() const;  // the frame's header as it came
  const HttpRequest& request() const;    // likewise, from an `http_request`

  // --- Messages out, from `opened` on (or after `message`).
  // `header` is a JSON object without "bytes". Returns where the payload is to be written at once;
  // end_message() follows before any other call.
  std::span<std::byte> begin_message(std::string_view header, size_t payload_bytes);
  void end_message();
  void send(std::string_view header, std::span<const std::byte> payload = {});
  void ping();  // answered by the peer's channel; see last_round_trip()
  // Then the connection ends: closes in order.
  void answer_http(int status, std::string_view content_type, std::string_view body);
  // Goodbye; nothing can be sent afterwards. Only WebSocket carries the code. `closed` comes when
  // the peer says goodbye too.
  void close(CloseCode code = CloseCode::normal);

  // --- Bytes out
  // What the transport shall send next, at most about 64 KiB (encrypted here, piece by piece);
  // empty when there is nothing. consumed() says how much of it was taken.
  std::span<const std::byte> pending();
  void consumed(size_t count);
  bool has_pending() const;  // cheap: encrypts nothing
  uint64_t unsent_bytes() const;
  // Nothing more will ever be pending: the transport may shut down once pending() is empty.
  bool finished() const;

  // --- State
  bool is_open() const;       // messages may be sent
  bool is_encrypted() const;  // TLS stands
  bool is_resumed() const;    // the TLS handshake took up an earlier session
  bool is_websocket() const;
  // Who the peer proved to be: "psk:NAME", "cert:NAME", or empty.
  const std::string& identity() const;
  std::string_view transport_name() const;  // "tcp", "tls", "ws", "wss"
  void set_frame_limits(FrameLimits limits);
  bool has_unread() const;      // bytes are held that next() has not seen
  bool inside_message() const;  // a part of one has arrived, the rest has not
  // Of the last ping that was answered; nothing before.
  std::optional<Clock::duration> last_round_trip() const;
  bool awaits_pong() const;
  // After an error: whether it is only that the bytes ended too early. The peer has refused
  // nothing.
  bool was_cut_off() const;
  size_t memory_bytes() const;  // of all buffers
  void trim();                  // while idle: gives memory back

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace splitd::net

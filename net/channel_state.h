// Owns: the inside of a Channel, shared by channel.cpp (bytes out, state) and channel_in.cpp (bytes
// in, events). Private to them. Bytes go wire_in → (TLS → plain_in) → frames, except that raw
// frames are read straight into the frame reader's memory; and out → (TLS → wire_out).
#pragma once

#include <array>

#include "net/channel.h"
#include "net/http_request.h"
#include "net/tls_session.h"

namespace splitd::net {

struct Channel::State {
  // Whether there is TLS around, and what is spoken inside.
  enum class Outer : uint8_t { sniff, handshake, encrypted, plain };
  enum class Inner : uint8_t { sniff, request, probe, upgrading, raw, websocket, over };

  explicit State(ChannelOptions given)
      : options(std::move(given)),
        frames(options.frames),
        ws(options.role == Role::server ? WsReader::Peer::client : WsReader::Peer::server) {}

  // --- channel_in.cpp
  Result<ChannelEvent> step();
  Status start_client();
  Status start_tls();
  Result<bool> meet_tls();
  Status sniff_outer();
  Result<bool> sniff_inner();  // whether there was a byte
  Status refuse_plain(std::byte first);
  Result<ChannelEvent> raw_step();
  Result<ChannelEvent> websocket_step();
  Result<std::optional<ChannelEvent>> websocket_event(WsStep step);
  Result<std::optional<ChannelEvent>> websocket_message(WsStep step);
  void start_websocket();
  Result<ChannelEvent> request_step();
  Result<ChannelEvent> upgrading_step();
  bool is_for_owner(Frame found);  // pings and pongs end here
  Result<bool> fill();             // more decrypted bytes into plain_in
  Result<ChannelEvent> nothing_more(bool between_messages);
  Error refuse_frame(Error why);
  Error refuse_websocket(Error why);
  uint64_t most_message_bytes() const;

  // --- channel.cpp
  void send_control(std::string_view type, uint64_t stamp);
  void send_websocket_control(WsOpcode opcode, std::span<const std::byte> payload);
  void send_websocket_close(CloseCode code);
  void send_answer(int status, HttpFields fields, std::string_view body, bool with_body);
  std::span<std::byte> begin_frame(std::string_view header, size_t payload_bytes);
  void end_frame();
  WsMask fresh_mask();
  bool may_answer_ping();
  void encrypt();

  bool encrypted() const { return outer == Outer::encrypted; }
  ByteBuffer& in() { return tls ? plain_in : wire_in; }
  bool straight() const { return outer == Outer::plain && inner == Inner::raw; }
  bool open() const { return inner == Inner::raw || inner == Inner::websocket; }

  ChannelOptions options;
  Outer outer = Outer::sniff;
  Inner inner = Inner::sniff;
  ByteBuffer wire_in;
  ByteBuffer plain_in;  // with TLS
  ByteBuffer out;       // with TLS: not yet encrypted
  ByteBuffer wire_out;  // with TLS
  std::unique_ptr<TlsSession> tls;
  FrameReader frames;
  WsReader ws;
  HttpRequestParser request;
  HttpResponseParser response;
  std::string websocket_key;
  HttpRequest probe;
  std::optional<Frame> frame;
  std::optional<Frame> whole_frame;  // WebSocket: the message's end is still to come
  bool met_tls = false;              // client: the first bytes of a TLS handshake were TLS
  bool wire_ended = false;
  bool cut_off = false;    // …without the goodbye that belongs there
  bool announced = false;  // `opened` was given out
  bool failed = false;
  bool closing = false;       // we said goodbye: nothing more is sent
  bool closed = false;        // the peer did
  bool said_goodbye = false;  // of TLS
  std::string identity;

  size_t message_at = 0;  // where in `out` the frame under way begins
  WsMask mask{};          // and what masks it
  std::array<uint8_t, 256> random{};
  size_t random_used = sizeof random;

  uint64_t stamps = 0;
  uint64_t awaited_stamp = 0;  // of our ping without an answer; 0: none
  Clock::time_point pinged_at;
  std::optional<Clock::duration> round_trip;
  int unread_pongs = 0;
};

}  // namespace splitd::net

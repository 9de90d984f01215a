// Owns: WebSocket (RFC 6455) as bytes: the accept key, frame heads, masking, and the reader that
// checks what a peer sends. Knows no sockets and no handshake beyond the key. Refuses: reserved
// bits and opcodes, missing or unwanted masks, long forms of short lengths, long or fragmented
// control frames, continuation without a beginning, text messages (splitd's are binary), bad close
// frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/buffer.h"
#include "net/limits.h"
#include "runtime/base/result.h"

namespace splitd::net {

// Close codes of RFC 6455.
enum class CloseCode : uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  bad_text = 1007,
  policy = 1008,
  too_big = 1009,
  internal_error = 1011,
};

enum class WsOpcode : uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

// What Sec-WebSocket-Accept must say to this key.
[[nodiscard]] std::string websocket_accept(std::string_view key);
// A fresh Sec-WebSocket-Key; empty if the system gives no random bytes.
[[nodiscard]] std::string websocket_key();
// Whether it is the base64 form of 16 bytes.
[[nodiscard]] bool is_websocket_key(std::string_view key);

using WsMask = std::array<uint8_t, 4>;
// XORs in place; `phase` is the offset of the first byte in its frame.
void websocket_mask(std::span<std::byte> bytes, WsMask mask, uint64_t phase);

// The head of one whole (FIN) frame; a client's has a mask.
void append_websocket_head(ByteBuffer& out, WsOpcode opcode, uint64_t payload_bytes,
                           const WsMask* mask);

struct WsStep {
  enum class Kind : uint8_t { need_more, data, message_end, ping, pong, close };
  Kind kind = Kind::need_more;
  size_t consumed = 0;        // from the front of what was given
  std::span<std::byte> data;  // data: a piece of the message, unmasked in place
};

class WsReader {
 public:
  enum class Peer : uint8_t { client, server };  // a client masks, a server does not
  explicit WsReader(Peer peer) : peer_(peer) {}
  // Of one message, all its fragments.
  void set_max_message(uint64_t bytes) { max_message_bytes_ = bytes; }

  // One step; go on until need_more. An error is final: close_code() is what to close with.
  Result<WsStep> step(std::span<std::byte> bytes);
  CloseCode close_code() const { return close_code_; }
  // Of the last ping, pong or close.
  std::span<const std::byte> control() const { return {control_.data(), control_bytes_}; }
  // After a close: what the peer gave as its reason's number; 1005 where it gave none.
  uint16_t peer_code() const { return peer_code_; }
  bool inside_message() const { return in_message_ || state_ != State::head; }

 private:
  enum class State : uint8_t { head, payload };
  Result<size_t> parse_head(std::span<const std::byte> bytes);  // 0: needs more
  Status check_frame();
  Status check_close();
  Result<WsStep> control_step(std::span<std::byte> bytes);
  Error fail(CloseCode code, std::string message);

  Peer peer_;
  uint64_t max_message_bytes_ = 0;
  State state_ = State::head;
  WsOpcode opcode_ = WsOpcode::binary;
  bool fin_ = false;
  bool in_message_ = false;
  WsMask mask_{};
  uint64_t length_ = 0;  // of the frame's payload
  uint64_t done_ = 0;    // bytes of it
  uint64_t message_bytes_ = 0;
  int empty_fragments_ = 0;
  std::array<std::byte, limits::kMaxControlFrameBytes> control_{};
  size_t control_bytes_ = 0;
  uint16_t peer_code_ = 1005;
  CloseCode close_code_ = CloseCode::protocol_error;
};

}  // namespace splitd::net

#include "net/websocket.h"

#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <mbedtls/version.h>
#include <string.h>
#include <sys/random.h>

#include <algorithm>

#include "runtime/base/utf8.h"

namespace splitd::net {
namespace {

constexpr size_t kKeyBytes = 16;

std::string base64(std::span<const uint8_t> bytes) {
  std::array<unsigned char, 64> out{};
  size_t length = 0;
  (void)mbedtls_base64_encode(out.data(), out.size(), &length, bytes.data(), bytes.size());
  return {reinterpret_cast<const char*>(out.data()), length};
}

bool is_control(WsOpcode opcode) {
  return static_cast<uint8_t>(opcode) >= 8;
}

}  // namespace

// --- The handshake's key

std::string websocket_accept(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest{};
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
#if MBEDTLS_VERSION_MAJOR >= 3
  (void)mbedtls_sha1(bytes, text.size(), digest.data());
#else
  (void)mbedtls_sha1_ret(bytes, text.size(), digest.data());
#endif
  return base64(digest);
}

std::string websocket_key() {
  std::array<uint8_t, kKeyBytes> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return {};
  return base64(bytes);
}

bool is_websocket_key(std::string_view key) {
  if (key.size() != 24) return false;
  std::array<unsigned char, 32> out{};
  size_t length = 0;
  return mbedtls_base64_decode(out.data(), out.size(), &length,
                               reinterpret_cast<const unsigned char*>(key.data()),
                               key.size()) == 0 &&
         length == kKeyBytes;
}

// --- Writing

void websocket_mask(std::span<std::byte> bytes, WsMask mask, uint64_t phase) {
  std::array<uint8_t, 8> wide{};
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = mask[(phase + i) % 4];
  uint64_t key;
  ::memcpy(&key, wide.data(), sizeof key);
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    ::memcpy(&word, bytes.data() + i, sizeof word);
    word ^= key;
    ::memcpy(bytes.data() + i, &word, sizeof word);
  }
  for (; i < bytes.size(); ++i) bytes[i] ^= static_cast<std::byte>(wide[i % 8]);
}

void append_websocket_head(ByteBuffer& out, WsOpcode opcode, uint64_t payload_bytes,
                           const WsMask* mask) {
  std::array<std::byte, 14> head{};
  size_t size = 0;
  const auto put = [&](uint64_t byte) { head[size++] = static_cast<std::byte>(byte & 0xff); };
  const uint8_t masked = mask != nullptr ? 0x80 : 0;
  put(0x80u | static_cast<uint8_t>(opcode));
  int length_bytes = 0;
  if (payload_bytes < 126) {
    put(masked | payload_bytes);
  } else if (payload_bytes <= 0xffff) {
    put(masked | 126u);
    length_bytes = 2;
  } else {
    put(masked | 127u);
    length_bytes = 8;
  }
  for (int i = length_bytes - 1; i >= 0; --i) put(payload_bytes >> (8 * i));
  if (mask != nullptr) {
    for (const uint8_t byte : *mask) put(byte);
  }
  out.append(std::span<const std::byte>(head).first(size));
}

// --- Reading

Error WsReader::fail(CloseCode code, std::string message) {
  close_code_ = code;
  return peer_error("WebSocket: " + std::move(message));
}

Result<size_t> WsReader::parse_head(std::span<const std::byte> bytes) {
  if (bytes.size() < 2) return size_t{0};
  const auto at = [&](size_t i) { return std::to_integer<uint8_t>(bytes[i]); };
  if ((at(0) & 0x70) != 0) {
    return fail(CloseCode::protocol_error, "a reserved bit is set, and no extension was agreed");
  }
  fin_ = (at(0) & 0x80) != 0;
  opcode_ = static_cast<WsOpcode>(at(0) & 0x0f);
  const bool masked = (at(1) & 0x80) != 0;
  if (masked != (peer_ == Peer::client)) {
    return fail(CloseCode::protocol_error,
                masked ? "a masked frame from a server" : "an unmasked frame from a client");
  }
  length_ = at(1) & 0x7f;
  // Refused on sight, before the rest of a long head is waited for.
  if (is_control(opcode_) && length_ > limits::kMaxControlFrameBytes) {
    return fail(CloseCode::protocol_error, "a control frame of more than 125 bytes");
  }
  const size_t length_bytes = length_ < 126 ? 0 : length_ == 126 ? 2 : 8;
  const size_t head_bytes = 2 + length_bytes + (masked ? 4 : 0);
  SPLITD_TRY(check_frame());
  if (bytes.size() < head_bytes) return size_t{0};
  if (length_bytes > 0) {
    length_ = 0;
    for (size_t i = 0; i < length_bytes; ++i) length_ = length_ << 8 | at(2 + i);
    if (length_ < 126 || (length_bytes == 8 && length_ <= 0xffff)) {
      return fail(CloseCode::protocol_error, "a length written longer than need be");
    }
    if (length_ >> 63 != 0) return fail(CloseCode::protocol_error, "a length beyond 2^63");
  }
  if (masked) {
    for (size_t i = 0; i < 4; ++i) mask_[i] = at(2 + length_bytes + i);
  }
  if (!is_control(opcode_)) {
    if (length_ > max_message_bytes_ - message_bytes_) {
      return fail(CloseCode::too_big,
                  "a message of more than " + std::to_string(max_message_bytes_) + " bytes");
    }
    message_bytes_ += length_;
    in_message_ = true;
    if (length_ > 0) {
      empty_fragments_ = 0;
    } else if (!fin_ && ++empty_fragments_ > limits::kMaxEmptyFragments) {
      return fail(CloseCode::policy, "endless empty fragments");
    }
  }
  done_ = 0;
  return head_bytes;
}

// What the first two bytes already tell.
Status WsReader::check_frame() {
  switch (opcode_) {
    case WsOpcode::continuation:
      if (!in_message_) return fail(CloseCode::protocol_error, "a continuation of nothing");
      return {};
    case WsOpcode::text:
      return fail(CloseCode::unsupported_data, "a text message; splitd's frames are binary");
    case WsOpcode::binary:
      if (in_message_) {
        return fail(CloseCode::protocol_error, "a message inside another, fragmented one");
      }
      return {};
    case WsOpcode::close:
    case WsOpcode::ping:
    case WsOpcode::pong:
      if (!fin_) return fail(CloseCode::protocol_error, "a fragmented control frame");
      return {};
  }
  return fail(CloseCode::protocol_error,
              "the opcode " + std::to_string(static_cast<int>(opcode_)) + " does not exist");
}

Status WsReader::check_close() {
  peer_code_ = 1005;
  if (control_bytes_ == 0) return {};
  if (control_bytes_ == 1) return fail(CloseCode::protocol_error, "half a close code");
  const auto code = static_cast<uint16_t>(std::to_integer<uint16_t>(control_[0]) << 8 |
                                          std::to_integer<uint16_t>(control_[1]));
  const bool known = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006);
  if (!known && (code < 3000 || code > 4999)) {
    return fail(CloseCode::protocol_error,
                "the close code " + std::to_string(code) + " must not be sent");
  }
  const std::string_view reason(reinterpret_cast<const char*>(control_.data()) + 2,
                                control_bytes_ - 2);
  if (!utf8_is_valid(reason)) return fail(CloseCode::bad_text, "a close reason that is not UTF-8");
  peer_code_ = code;
  return {};
}

Result<WsStep> WsReader::control_step(std::span<std::byte> bytes) {
  const auto taken = static_cast<size_t>(std::min<uint64_t>(bytes.size(), length_ - done_));
  const std::span<std::byte> piece = bytes.first(taken);
  if (peer_ == Peer::client) websocket_mask(piece, mask_, done_);
  std::copy(piece.begin(), piece.end(), control_.begin() + static_cast<std::ptrdiff_t>(done_));
  done_ += taken;
  if (done_ < length_) return WsStep{WsStep::Kind::need_more, taken, {}};
  state_ = State::head;
  control_bytes_ = static_cast<size_t>(length_);
  if (opcode_ == WsOpcode::ping) return WsStep{WsStep::Kind::ping, taken, {}};
  if (opcode_ == WsOpcode::pong) return WsStep{WsStep::Kind::pong, taken, {}};
  SPLITD_TRY(check_close());
  return WsStep{WsStep::Kind::close, taken, {}};
}

Result<WsStep> WsReader::step(std::span<std::byte> bytes) {
  size_t head_bytes = 0;
  if (state_ == State::head) {
    SPLITD_ASSIGN(head_bytes, parse_head(bytes));
    if (head_bytes == 0) return WsStep{};
    state_ = State::payload;
    bytes = bytes.subspan(head_bytes);
  }
  if (is_control(opcode_)) {
    SPLITD_ASSIGN(WsStep step, control_step(bytes));
    step.consumed += head_bytes;
    return step;
  }
  if (done_ == length_) {
    state_ = State::head;
    if (!fin_) return WsStep{WsStep::Kind::data, head_bytes, {}};
    in_message_ = false;
    message_bytes_ = 0;
    empty_fragments_ = 0;
    return WsStep{WsStep::Kind::message_end, head_bytes, {}};
  }
  const auto taken = static_cast<size_t>(std::min<uint64_t>(bytes.size(), length_ - done_));
  const std::span<std::byte> piece = bytes.first(taken);
  if (peer_ == Peer::client) websocket_mask(piece, mask_, done_);
  done_ += taken;
  if (done_ == length_ && !fin_) state_ = State::head;
  const bool waiting = taken == 0 && head_bytes == 0;
  return WsStep{waiting ? WsStep::Kind::need_more : WsStep::Kind::data, head_bytes + taken, piece};
}

}  // namespace splitd::net

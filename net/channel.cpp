// Bytes out, and what a channel knows of itself.
#include "net/channel.h"

#include <string.h>
#include <sys/random.h>

#include <algorithm>

#include "net/channel_state.h"
#include "net/control.h"

namespace splitd::net {
namespace {

// Encrypted ahead of what the transport takes: a few records, so that no write is small.
constexpr size_t kEncryptAhead = size_t{64} << 10;
constexpr size_t kTlsRecordBytes = 16384;

}  // namespace

Channel::Channel(ChannelOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Channel::~Channel() = default;

// --- The memory that bytes come into

std::span<std::byte> Channel::prepare() {
  State& s = *state_;
  if (s.straight()) return s.frames.prepare();
  const uint64_t most = std::clamp<uint64_t>(s.most_message_bytes(), limits::kLeastReadBytes,
                                             limits::kFrameReadBytes);
  return s.wire_in.prepare_read(static_cast<size_t>(most));
}

void Channel::commit(size_t count) {
  State& s = *state_;
  if (s.straight()) {
    s.frames.commit(count);
  } else {
    s.wire_in.commit(count);
  }
}

void Channel::feed(std::span<const std::byte> bytes) {
  State& s = *state_;
  if (s.straight()) {
    s.frames.feed(bytes);
  } else {
    s.wire_in.append(bytes);
  }
}

void Channel::feed_end() {
  state_->wire_ended = true;
}

// --- Messages out

WsMask Channel::State::fresh_mask() {
  if (random_used + 4 > random.size()) {
    // 256 bytes never come short. Masks protect proxies in between from chosen bytes, not secrets.
    (void)!::getrandom(random.data(), random.size(), 0);
    random_used = 0;
  }
  WsMask fresh{};
  ::memcpy(fresh.data(), random.data() + random_used, fresh.size());
  random_used += fresh.size();
  return fresh;
}

std::span<std::byte> Channel::State::begin_frame(std::string_view header, size_t payload_bytes) {
  const bool masked = options.role == Role::client;
  if (inner == Inner::websocket) {
    if (masked) mask = fresh_mask();
    append_websocket_head(out, WsOpcode::binary, frame_bytes(header, payload_bytes),
                          masked ? &mask : nullptr);
  }
  message_at = out.size();
  return append_frame(out, header, payload_bytes);
}

void Channel::State::end_frame() {
  if (inner != Inner::websocket || options.role != Role::client) return;
  websocket_mask(out.bytes().subspan(message_at), mask, 0);
}

void Channel::State::send_control(std::string_view type, uint64_t stamp) {
  std::array<char, 48> text{};
  const int size = std::snprintf(text.data(), text.size(), "{\"type\":\"%.*s\",\"t\":%llu}",
                                 static_cast<int>(type.size()), type.data(),
                                 static_cast<unsigned long long>(stamp));
  (void)begin_frame({text.data(), static_cast<size_t>(size)}, 0);
  end_frame();
}

bool Channel::State::may_answer_ping() {
  if (closing) return false;
  if (out.empty() && wire_out.empty()) unread_pongs = 0;
  return ++unread_pongs <= limits::kMaxUnreadPongs;
}

void Channel::State::send_websocket_control(WsOpcode opcode, std::span<const std::byte> payload) {
  if (options.role == Role::client) {
    const WsMask key = fresh_mask();
    append_websocket_head(out, opcode, payload.size(), &key);
    const size_t at = out.size();
    out.append(payload);
    websocket_mask(out.bytes().subspan(at), key, 0);
  } else {
    append_websocket_head(out, opcode, payload.size(), nullptr);
    out.append(payload);
  }
}

void Channel::State::send_websocket_close(CloseCode code) {
  const auto number = static_cast<uint16_t>(code);
  const std::array<std::byte, 2> payload{static_cast<std::byte>(number >> 8),
                                         static_cast<std::byte>(number & 0xff)};
  send_websocket_control(WsOpcode::close, payload);
  closing = true;
}

void Channel::State::send_answer(int status, HttpFields fields, std::string_view body,
                                 bool with_body) {
  if (!fields.find("Content-Type")) fields.add("Content-Type", "text/plain; charset=utf-8");
  if (!fields.find("Connection")) fields.add("Connection", "close");
  fields.add("Cache-Control", "no-store");
  fields.add("X-Content-Type-Options", "nosniff");
  out.append(make_response_head(status, fields, body.size()));
  if (with_body) out.append(body);
  closing = true;
  inner = Inner::over;
}

std::span<std::byte> Channel::begin_message(std::string_view header, size_t payload_bytes) {
  return state_->begin_frame(header, payload_bytes);
}

void Channel::end_message() {
  state_->end_frame();
}

void Channel::send(std::string_view header, std::span<const std::byte> payload) {
  const std::span<std::byte> room = begin_message(header, payload.size());
  if (!payload.empty()) ::memcpy(room.data(), payload.data(), payload.size());
  end_message();
}

void Channel::ping() {
  State& s = *state_;
  if (!is_open()) return;
  s.awaited_stamp = ++s.stamps;
  s.pinged_at = Clock::now();
  s.send_control(kTypePing, s.awaited_stamp);
}

void Channel::answer_http(int status, std::string_view content_type, std::string_view body) {
  HttpFields fields;
  fields.add("Content-Type", std::string(content_type));
  state_->send_answer(status, std::move(fields), body, state_->probe.method != "HEAD");
}

void Channel::close(CloseCode code) {
  State& s = *state_;
  if (s.closing) return;
  s.closing = true;
  // Only a WebSocket peer still has to answer our goodbye.
  if (s.inner == State::Inner::websocket) {
    s.send_websocket_close(code);
  } else {
    s.inner = State::Inner::over;
  }
}

// --- Bytes out

void Channel::State::encrypt() {
  while (!out.empty() && wire_out.size() < kEncryptAhead) {
    const size_t count = std::min(out.size(), kTlsRecordBytes);
    const Result<size_t> taken = tls->write(std::as_const(out).bytes().first(count));
    if (!taken.ok() || *taken == 0) {  // the session is broken: next() has said or will say so
      out.clear();
      return;
    }
    out.consume(*taken);
  }
  const bool last = closing && out.empty() && !said_goodbye;
  if (last) {
    tls->say_goodbye();
    said_goodbye = true;
  }
}

std::span<const std::byte> Channel::pending() {
  State& s = *state_;
  if (!s.tls) return std::as_const(s.out).bytes();
  if (s.encrypted()) s.encrypt();
  return std::as_const(s.wire_out).bytes();
}

void Channel::consumed(size_t count) {
  State& s = *state_;
  (s.tls ? s.wire_out : s.out).consume(count);
}

bool Channel::has_pending() const {
  const State& s = *state_;
  if (!s.wire_out.empty()) return true;
  if (s.tls && !s.encrypted()) return false;
  return !s.out.empty() || (s.tls && s.closing && !s.said_goodbye);
}

uint64_t Channel::unsent_bytes() const {
  return state_->out.size() + state_->wire_out.size();
}

bool Channel::finished() const {
  return state_->closing && !has_pending();
}

// --- State

const Frame& Channel::frame() const {
  return *state_->frame;
}
std::string_view Channel::header_text() const {
  return state_->frames.header_text();
}
const HttpRequest& Channel::request() const {
  return state_->probe;
}
bool Channel::is_open() const {
  return state_->announced && state_->open() && !state_->closing;
}
bool Channel::is_encrypted() const {
  return state_->encrypted();
}
bool Channel::is_resumed() const {
  return state_->tls && state_->tls->resumed();
}
bool Channel::is_websocket() const {
  return state_->inner == State::Inner::websocket;
}
const std::string& Channel::identity() const {
  return state_->identity;
}

std::string_view Channel::transport_name() const {
  if (is_websocket()) return is_encrypted() ? "wss" : "ws";
  return is_encrypted() ? "tls" : "tcp";
}

void Channel::set_frame_limits(FrameLimits limits) {
  state_->frames.set_limits(limits);
  state_->ws.set_max_message(state_->most_message_bytes());
}

bool Channel::has_unread() const {
  const State& s = *state_;
  return s.frames.held_bytes() > 0 || !s.wire_in.empty() || !s.plain_in.empty() ||
         (s.tls && s.tls->has_unread());
}

bool Channel::inside_message() const {
  return state_->open() && (state_->frames.held_bytes() > 0 || state_->ws.inside_message());
}

std::optional<Clock::duration> Channel::last_round_trip() const {
  return state_->round_trip;
}
bool Channel::awaits_pong() const {
  return state_->awaited_stamp != 0;
}

bool Channel::was_cut_off() const {
  return state_->failed && state_->cut_off;
}

size_t Channel::memory_bytes() const {
  const State& s = *state_;
  return s.wire_in.capacity() + s.plain_in.capacity() + s.out.capacity() + s.wire_out.capacity() +
         s.frames.memory_bytes();
}

void Channel::trim() {
  State& s = *state_;
  for (ByteBuffer* buffer : {&s.wire_in, &s.plain_in, &s.out, &s.wire_out}) {
    buffer->trim(limits::kIdleBufferBytes);
  }
  s.frames.trim();
}

}  // namespace splitd::net

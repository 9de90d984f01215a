// Bytes in, events out: which layer is next, and what each refuses with.
#include <algorithm>

#include "net/channel_state.h"
#include "net/control.h"
#include "net/tcp.h"
#include "net/upgrade.h"

namespace splitd::net {
namespace {

constexpr std::byte kTlsHandshakeRecord{22};
constexpr std::byte kTlsAlertRecord{21};
// A fatal protocol_version: what a TLS client understands from a port that speaks none. Ports that
// speak some TLS say handshake_failure where keys do not fit, so the two can be told apart.
constexpr std::array<std::byte, 7> kNoTlsAlert{std::byte{21}, std::byte{3}, std::byte{1},
                                               std::byte{0},  std::byte{2}, std::byte{2},
                                               std::byte{70}};

constexpr std::string_view kTlsOnly = "this port speaks TLS only: a key or certificate is needed";

// Methods are upper-case; a raw frame's header length begins with a zero byte.
bool begins_http(std::byte byte) {
  return byte >= std::byte{'A'} && byte <= std::byte{'Z'};
}

}  // namespace

uint64_t Channel::State::most_message_bytes() const {
  return uint64_t{4} + frames.frame_limits().max_header_bytes +
         frames.frame_limits().max_payload_bytes;
}

Result<ChannelEvent> Channel::next() {
  State& s = *state_;
  if (s.failed) return peer_error("the channel has failed before");
  s.frame.reset();
  Result<ChannelEvent> event = s.step();
  if (!event.ok()) {
    s.failed = true;
    s.closing = true;
    s.inner = State::Inner::over;
  }
  return event;
}

Result<ChannelEvent> Channel::State::step() {
  if (options.role == Role::client && outer == Outer::sniff) SPLITD_TRY(start_client());
  if (outer == Outer::sniff) {
    if (wire_in.empty()) return nothing_more(true);
    SPLITD_TRY(sniff_outer());
  }
  if (outer == Outer::handshake) {
    if (options.role == Role::client && !met_tls) {
      SPLITD_ASSIGN(const bool enough, meet_tls());
      if (!enough) return nothing_more(false);
    }
    SPLITD_ASSIGN(const bool done, tls->handshake());
    if (!done) return nothing_more(false);
    outer = Outer::encrypted;
    identity = tls->identity();
    if (options.role == Role::client) SPLITD_TRY(start_client());
  }
  if (inner == Inner::sniff) {
    SPLITD_ASSIGN(const bool some, sniff_inner());
    if (!some) return nothing_more(true);
  }
  if (open() && !announced) {
    announced = true;
    return ChannelEvent::opened;
  }
  switch (inner) {
    case Inner::raw:
      return raw_step();
    case Inner::websocket:
      return websocket_step();
    case Inner::request:
      return request_step();
    case Inner::upgrading:
      return upgrading_step();
    case Inner::sniff:
    case Inner::probe:
    case Inner::over:
      break;
  }
  // What a peer sends after its request or our goodbye is dropped.
  wire_in.clear();
  plain_in.clear();
  return closed || wire_ended ? ChannelEvent::closed : ChannelEvent::need_more;
}

// Whatever arrived is used up. Did the peer end, and may it here?
Result<ChannelEvent> Channel::State::nothing_more(bool between_messages) {
  const bool goodbye = tls && tls->ended();
  if (!wire_ended && !goodbye) return ChannelEvent::need_more;
  cut_off = !goodbye;
  if (outer == Outer::handshake)
    return peer_error("the peer ended the connection in the TLS handshake");
  if (encrypted() && !goodbye) return peer_error("the connection ended without a TLS goodbye");
  if (!between_messages) return peer_error("the connection ended inside a message");
  if (inner == Inner::upgrading)
    return peer_error("the connection ended in the WebSocket handshake");
  if (inner == Inner::websocket)
    return peer_error("the connection ended without a WebSocket close");
  closing = true;
  inner = Inner::over;
  return ChannelEvent::closed;
}

Result<bool> Channel::State::fill() {
  if (!tls) return false;
  const uint64_t most =
      std::clamp<uint64_t>(most_message_bytes(), limits::kLeastReadBytes, limits::kFrameReadBytes);
  SPLITD_ASSIGN(const size_t count, tls->read(plain_in.prepare_read(static_cast<size_t>(most))));
  plain_in.commit(count);
  return count > 0;
}

// --- Beginnings

Status Channel::State::start_tls() {
  const std::string host(host_of(options.host));
  SPLITD_ASSIGN(tls, TlsSession::create(options.tls, host, options.host, wire_in, wire_out));
  outer = Outer::handshake;
  return {};
}

// TLS if it is wanted; once that stands, the upgrade if that is. A raw client may speak at once.
Status Channel::State::start_client() {
  if (options.tls && !tls) return start_tls();
  if (!tls) outer = Outer::plain;
  if (!options.websocket) {
    inner = Inner::raw;
    return {};
  }
  websocket_key = net::websocket_key();
  SPLITD_ASSIGN(const std::string head, make_upgrade_request(options.host, websocket_key));
  out.append(head);
  inner = Inner::upgrading;
  return {};
}

// The first bytes that a TLS client gets: is it TLS that answers? False: an alert is not whole yet.
Result<bool> Channel::State::meet_tls() {
  const std::span<const std::byte> bytes = std::as_const(wire_in).bytes();
  if (bytes.empty()) return true;
  const bool alert = bytes[0] == kTlsAlertRecord;
  if (alert && bytes.size() < kNoTlsAlert.size()) return false;
  met_tls = true;
  // The version in an alert's record is any.
  const bool refused = alert && bytes[5] == kNoTlsAlert[5] && bytes[6] == kNoTlsAlert[6];
  if (bytes[0] == kTlsHandshakeRecord || (alert && !refused)) return true;
  return peer_error("the peer speaks no TLS: it was started without key or certificate");
}

Status Channel::State::sniff_outer() {
  const std::byte first = wire_in.bytes()[0];
  if (first == kTlsHandshakeRecord && options.tls) return start_tls();
  outer = Outer::plain;
  if (first == kTlsHandshakeRecord) {
    out.append(kNoTlsAlert);
    return peer_error("the peer speaks TLS, for which this end has no keys");
  }
  if (options.tls) return refuse_plain(first);
  return {};
}

// A listener with TLS: probes from this machine may be plain, nothing else.
Status Channel::State::refuse_plain(std::byte first) {
  if (begins_http(first)) return {};  // judged when the request is whole
  if (first == std::byte{0}) {
    inner = Inner::raw;
    (void)begin_frame(error_header("tls_required", kTlsOnly, false), 0);
    end_frame();
  }
  return peer_error("the peer speaks no TLS, which this port demands");
}

Result<bool> Channel::State::sniff_inner() {
  if (in().empty()) {
    SPLITD_ASSIGN(const bool some, fill());
    if (!some) return false;
  }
  const std::byte first = in().bytes()[0];
  if (begins_http(first)) {
    inner = Inner::request;
  } else if (first == std::byte{0}) {
    frames.feed(in().bytes());
    in().clear();
    inner = Inner::raw;
  } else {
    return peer_error("the peer speaks neither splitd frames nor HTTP");
  }
  return true;
}

// --- Frames

bool Channel::State::is_for_owner(Frame found) {
  const std::string_view type = message_type(found.header);
  if (type != kTypePing && type != kTypePong) {
    frame = found;
    return true;
  }
  const std::optional<Json> field = found.header.find("t");
  const uint64_t stamp = field ? field->to_u64().value_or(0) : 0;
  if (type == kTypePing) {
    if (may_answer_ping()) send_control(kTypePong, stamp);
  } else if (stamp != 0 && stamp == awaited_stamp) {
    round_trip = Clock::now() - pinged_at;
    awaited_stamp = 0;
  }
  return false;
}

Error Channel::State::refuse_frame(Error why) {
  // A client that meets something else than splitd is told so.
  if (options.role == Role::client && frames.fault() == FrameFault::header_length) {
    const auto first = static_cast<std::byte>(frames.announced_header_bytes() >> 24);
    if (first == kTlsAlertRecord || first == kTlsHandshakeRecord) {
      return peer_error("the peer speaks TLS: a key or certificate is needed here too");
    }
    if (begins_http(first)) return peer_error("the peer speaks HTTP and not splitd's frames");
  }
  if (!closing) {
    (void)begin_frame(error_header("bad_frame", why.message, false), 0);
    end_frame();
  }
  return why;
}

Result<ChannelEvent> Channel::State::raw_step() {
  while (true) {
    Result<std::optional<Frame>> found = frames.next();
    if (!found.ok()) return refuse_frame(found.take_error());
    if (found->has_value()) {
      if (is_for_owner(**found)) return ChannelEvent::message;
      continue;
    }
    if (!tls) return nothing_more(frames.held_bytes() == 0);
    SPLITD_ASSIGN(const size_t count, tls->read(frames.prepare()));
    if (count == 0) return nothing_more(frames.held_bytes() == 0);
    frames.commit(count);
  }
}

// --- WebSocket

Error Channel::State::refuse_websocket(Error why) {
  if (!closing) send_websocket_close(ws.close_code());
  return why;
}

Result<ChannelEvent> Channel::State::websocket_step() {
  while (true) {
    Result<WsStep> step = ws.step(in().bytes());
    if (!step.ok()) return refuse_websocket(step.take_error());
    if (step->kind == WsStep::Kind::need_more && step->consumed == 0) {
      SPLITD_ASSIGN(const bool some, fill());
      if (!some) return nothing_more(!ws.inside_message() && in().empty());
      continue;
    }
    SPLITD_ASSIGN(const std::optional<ChannelEvent> event, websocket_event(*step));
    // A step's data is a view of what is consumed here.
    in().consume(step->consumed);
    if (event) return *event;
  }
}

// What one step means; nothing when it is no event yet.
Result<std::optional<ChannelEvent>> Channel::State::websocket_event(WsStep step) {
  switch (step.kind) {
    case WsStep::Kind::need_more:
      return std::optional<ChannelEvent>();
    case WsStep::Kind::ping:
      if (may_answer_ping()) send_websocket_control(WsOpcode::pong, ws.control());
      return std::optional<ChannelEvent>();
    case WsStep::Kind::pong:
      return std::optional<ChannelEvent>();
    case WsStep::Kind::close:
      if (!closing) {
        send_websocket_close(ws.peer_code() == 1005 ? CloseCode::normal
                                                    : static_cast<CloseCode>(ws.peer_code()));
      }
      closing = closed = true;
      inner = Inner::over;
      return std::optional(ChannelEvent::closed);
    case WsStep::Kind::data:
    case WsStep::Kind::message_end:
      break;
  }
  return websocket_message(step);
}

// One binary message is exactly one frame, judged as it comes, so that one that announces too much
// is refused before it is held.
Result<std::optional<ChannelEvent>> Channel::State::websocket_message(WsStep step) {
  const auto refuse = [this](Error why, CloseCode code) {
    if (!closing) send_websocket_close(code);
    return why;
  };
  if (step.kind == WsStep::Kind::message_end) {
    if (!whole_frame) {
      return refuse(peer_error("a WebSocket message that ends inside a frame"),
                    CloseCode::protocol_error);
    }
    const Frame found = *whole_frame;
    whole_frame.reset();
    if (is_for_owner(found)) return std::optional(ChannelEvent::message);
    return std::optional<ChannelEvent>();
  }
  if (step.data.empty()) return std::optional<ChannelEvent>();
  if (!whole_frame) {
    frames.feed(step.data);
    Result<std::optional<Frame>> found = frames.next();
    if (!found.ok()) {
      const bool big = frames.fault() == FrameFault::header_length ||
                       frames.fault() == FrameFault::payload_length;
      return refuse(found.take_error(), big ? CloseCode::too_big : CloseCode::protocol_error);
    }
    whole_frame = *found;
    if (frames.held_bytes() == 0 || !whole_frame) return std::optional<ChannelEvent>();
  }
  return refuse(peer_error("a WebSocket message of more than one frame"),
                CloseCode::protocol_error);
}

// --- HTTP

Result<ChannelEvent> Channel::State::request_step() {
  while (!request.head_done()) {
    if (in().empty()) {
      SPLITD_ASSIGN(const bool some, fill());
      if (!some) return nothing_more(false);
    }
    Result<size_t> used = request.parse_head(in().bytes());
    if (!used.ok()) {
      // The answer says what is wrong without repeating it.
      send_answer(request.status(), {}, http_reason(request.status()), true);
      return used.take_error();
    }
    in().consume(*used);
  }
  const HttpRequestHead& head = request.head();
  RequestVerdict verdict = judge_request(head, request.body());
  const bool allowed_plain = verdict.probe && options.from_loopback &&
                             (head.target == "/healthz" || head.target == "/readyz");
  if (options.tls && !tls && verdict.status != 403 && !allowed_plain) {
    verdict = {403, {}, std::string(kTlsOnly), false};
    verdict.fields.add("Upgrade", std::string(kUpgradeToTls));
  }
  if (verdict.probe) {
    inner = Inner::probe;
    probe = {head.method, head.target, tls != nullptr};
    return ChannelEvent::http_request;
  }
  if (verdict.status != 101) {
    send_answer(verdict.status, std::move(verdict.fields), verdict.reason + "\n",
                head.method != "HEAD");
    return peer_error(verdict.reason);
  }
  out.append(make_response_head(101, verdict.fields, 0));
  start_websocket();
  return ChannelEvent::opened;
}

Result<ChannelEvent> Channel::State::upgrading_step() {
  while (!response.head_done()) {
    if (in().empty()) {
      SPLITD_ASSIGN(const bool some, fill());
      if (!some) return nothing_more(true);
    }
    SPLITD_ASSIGN(const size_t used, response.parse_head(in().bytes()));
    in().consume(used);
  }
  SPLITD_TRY(check_upgrade_answer(response.head(), websocket_key));
  start_websocket();
  return ChannelEvent::opened;
}

void Channel::State::start_websocket() {
  ws.set_max_message(most_message_bytes());
  inner = Inner::websocket;
  announced = true;
}

}  // namespace splitd::net

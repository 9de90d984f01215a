// One connection's life on the loop: reading, what its channel says, deadlines, leaving.
#include <string.h>

#include <algorithm>

#include "net/server_state.h"

namespace splitd::net {

namespace {

// Written by the loop between two looks at the mutex: what encrypts in about 150 µs.
constexpr size_t kLoopWriteBytes = size_t{64} << 10;
// Reads of one connection per round of the loop, so that a fast peer does not starve the others.
constexpr int kReadsPerRound = 8;

}  // namespace

Connection::State::State(Server::State& the_server, Loop& loop, std::unique_ptr<TcpStream> stream,
                         ChannelOptions options)
    : server(the_server),
      link(loop, std::move(stream), std::move(options)),
      identity("addr:" + std::string(host_of(link.stream->peer()))) {}

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->owner = this;
}
Connection::~Connection() = default;

// --- Any thread

uint64_t Connection::id() const {
  return state_->id;
}
const std::string& Connection::peer() const {
  return state_->link.stream->peer();
}
const std::string& Connection::identity() const {
  return state_->identity;
}
std::string_view Connection::transport_name() const {
  return state_->transport;
}
uint64_t Connection::unsent_bytes() const {
  return state_->link.unsent.load(std::memory_order_relaxed);
}
uint64_t Connection::bytes_in() const {
  return state_->link.bytes_in.load(std::memory_order_relaxed);
}
uint64_t Connection::bytes_out() const {
  return state_->link.bytes_out.load(std::memory_order_relaxed);
}

bool Connection::is_open() const {
  const std::lock_guard lock(state_->link.mutex);
  return state_->open;
}

Connection::Sending::Sending(Connection& the_connection, std::string_view header,
                             size_t payload_bytes)
    : connection(the_connection) {
  State& s = *connection.state_;
  s.link.mutex.lock();
  open = s.open && s.link.channel.is_open();
  if (open) payload = s.link.channel.begin_message(header, payload_bytes);
}

Connection::Sending::~Sending() {
  State& s = *connection.state_;
  if (open) {
    s.link.channel.end_message();
    s.link.flush_by_caller();
    s.queued();
  }
  s.link.mutex.unlock();
}

bool Connection::send(std::string_view header, std::span<const std::byte> payload) {
  return send_filled(header, payload.size(), [&](std::span<std::byte> room) {
    if (!payload.empty()) ::memcpy(room.data(), payload.data(), payload.size());
  });
}

void Connection::State::queued() {
  const bool crowded = link.unsent.load(std::memory_order_relaxed) > server.options.unsent_limit;
  if (!crowded) {
    crowded_since.reset();
  } else if (!crowded_since) {
    crowded_since = Clock::now();
  }
}

void Connection::close(CloseCode code) {
  State& s = *state_;
  const std::lock_guard lock(s.link.mutex);
  if (!s.open) return;
  s.open = false;
  s.close_asked = true;
  s.link.channel.close(code);
  // The loop writes what is left and then leaves, also when nothing is.
  s.link.loop_writes = true;
  s.link.update_interest();
}

// --- The loop's thread

// drop() gives up the server's reference, which may be the last but this one.
std::shared_ptr<Connection> Connection::State::self() {
  return owner->shared_from_this();
}

void Connection::admit(FrameLimits frame_limits) {
  State& s = *state_;
  if (s.stage != State::Stage::stranger) return;
  s.server.no_longer_stranger(s);
  s.stage = State::Stage::admitted;
  s.since = Clock::now();
  {
    const std::lock_guard lock(s.link.mutex);
    s.link.channel.set_frame_limits(frame_limits);
  }
  s.link.loop.set(s.timer, s.next_check(s.since));
}

bool Connection::admitted() const {
  return state_->stage == State::Stage::admitted;
}

void Connection::State::on_ready(Readiness readiness) {
  const std::shared_ptr<Connection> keep = self();
  if (readiness.writable || stage == Stage::leaving) {
    bool asked = false;
    {
      const std::lock_guard lock(link.mutex);
      link.flush(kLoopWriteBytes);
      queued();
      asked = close_asked;
    }
    if (stage == Stage::leaving) return leave_on();
    if (asked) return leave(peer_error("closed from this end"));
  }
  if (readiness.readable || readiness.hangup) read();
}

void Connection::State::read() {
  for (int i = 0; i < kReadsPerRound; ++i) {
    Result<Link::Read> got = Link::Read::nothing;
    {
      const std::lock_guard lock(link.mutex);
      got = link.read_once();
    }
    if (!got.ok()) return leave(got.error());
    if (*got == Link::Read::nothing) return;
    if (!dispatch() || *got == Link::Read::ended) return;
  }
}

bool Connection::State::dispatch() {
  while (true) {
    Result<ChannelEvent> event = ChannelEvent::need_more;
    {
      const std::lock_guard lock(link.mutex);
      if (close_asked) return false;
      event = link.channel.next();
      // Handshakes, pongs and refusals are answered in there.
      if (link.channel.has_pending() && !link.loop_writes) link.flush(kLoopWriteBytes);
    }
    if (!event.ok()) {
      leave(event.error());
      return false;
    }
    if (*event == ChannelEvent::need_more) return true;
    if (!handle(*event)) return false;
  }
}

bool Connection::State::handle(ChannelEvent event) {
  switch (event) {
    case ChannelEvent::need_more:
      break;
    case ChannelEvent::opened: {
      if (!link.channel.identity().empty()) identity = link.channel.identity();
      transport = link.channel.transport_name();
      {
        const std::lock_guard lock(link.mutex);
        open = true;
      }
      announced = true;
      if (server.events.opened) server.events.opened(self());
      break;
    }
    case ChannelEvent::message: {
      const Status status = server.events.message(self(), link.channel.frame());
      if (status.ok()) break;
      leave(status.error());
      return false;
    }
    case ChannelEvent::http_request: {
      HttpAnswer answer;
      if (server.events.http) answer = server.events.http(link.channel.request());
      {
        const std::lock_guard lock(link.mutex);
        link.channel.answer_http(answer.status, answer.content_type, answer.body);
      }
      satisfied = true;
      leave(peer_error("was answered by HTTP"));
      return false;
    }
    case ChannelEvent::closed:
      satisfied = announced;
      leave(peer_error("the peer closed the connection"));
      return false;
  }
  return stage != Stage::leaving;
}

// --- Deadlines

Clock::time_point Connection::State::next_check(Clock::time_point now) const {
  const ServerOptions& options = server.options;
  return now + std::min({options.ping_after, options.pong_timeout, options.unsent_timeout});
}

// Why the peer's time is up; nothing while it is not.
std::optional<Error> Connection::State::overdue(Clock::time_point now) {
  const ServerOptions& options = server.options;
  if (stage == Stage::stranger) {
    return peer_error("no hello within " + std::to_string(options.hello_timeout.count()) + " ms");
  }
  const std::lock_guard lock(link.mutex);
  if (crowded_since && now - *crowded_since >= options.unsent_timeout) {
    return peer_error("does not take what it is sent: " + std::to_string(link.unsent.load()) +
                      " bytes wait");
  }
  const bool waiting = link.pinged > link.heard;
  if (waiting && now - link.pinged >= options.pong_timeout) {
    return peer_error("silent for " + std::to_string(options.pong_timeout.count()) +
                      " ms after a ping");
  }
  if (!waiting && now - link.heard >= options.ping_after) {
    link.pinged = now;
    link.channel.ping();
    link.flush(kLoopWriteBytes);
    link.channel.trim();
  }
  // A frame that was begun must go on: neither silence nor a drip holds its memory.
  const uint64_t bytes = link.bytes_in.load();
  if (!link.channel.inside_message()) {
    window_began.reset();
  } else if (!window_began || bytes - window_bytes >= limits::kFrameWindowBytes) {
    window_began = now;
    window_bytes = bytes;
  } else if (now - *window_began >= limits::kFrameWindow) {
    return peer_error("sends a frame too slowly");
  }
  return std::nullopt;
}

void Connection::State::on_time() {
  const std::shared_ptr<Connection> keep = self();
  if (stage == Stage::leaving) return drop();
  const Clock::time_point now = Clock::now();
  if (const std::optional<Error> why = overdue(now)) {
    // Nothing that a peer like this could still read is worth waiting for.
    leave(*why);
    if (link.registered) drop();
    return;
  }
  link.loop.set(timer, next_check(now));
}

// --- Leaving

void Connection::State::leave(const Error& why) {
  if (stage == Stage::leaving) return;
  if (stage == Stage::stranger) {
    server.no_longer_stranger(*this);
    if (!satisfied) server.refused.fetch_add(1);
  }
  stage = Stage::leaving;
  leaving_place = server.leaving.insert(server.leaving.end(), owner);
  server.options.log.debug(link.stream->peer() + ": " + why.message);
  {
    const std::lock_guard lock(link.mutex);
    open = false;
    link.channel.close(CloseCode::normal);
    link.flush(kLoopWriteBytes);
  }
  link.loop.set(timer, Clock::now() + limits::kCloseLinger);
  if (announced && server.events.closed) server.events.closed(self(), why);
  leave_on();
}

void Connection::State::leave_on() {
  if (!link.registered) return;
  bool over = false;
  {
    const std::lock_guard lock(link.mutex);
    if (link.broken) over = true;
    if (!over && !link.loop_writes && !wrote_end) {
      // Closing with unread bytes would reset the connection, and the peer lose our last words.
      link.stream->end_writing();
      wrote_end = true;
    }
    std::byte scratch[4096];
    for (int i = 0; i < kReadsPerRound && !over; ++i) {
      const Result<Io> io = link.stream->try_read(scratch);
      over = !io.ok() || io->end;
      if (io.ok() && io->bytes == 0) break;
    }
  }
  if (over) drop();
}

void Connection::State::drop() {
  if (!link.registered) return;
  const std::shared_ptr<Connection> keep = self();
  if (stage == Stage::stranger) {
    server.no_longer_stranger(*this);
    server.refused.fetch_add(1);
  }
  const bool tell = announced && stage != Stage::leaving;
  if (stage == Stage::leaving) server.leaving.erase(leaving_place);
  stage = Stage::leaving;
  {
    const std::lock_guard lock(link.mutex);
    open = false;
    link.loop.remove(link.watch);
    link.loop.cancel(timer);
    link.registered = false;
    link.stream->close();
  }
  server.connections.erase(id);
  server.connection_count.store(server.connections.size());
  if (tell && server.events.closed) server.events.closed(keep, peer_error("closed to make room"));
}

}  // namespace splitd::net

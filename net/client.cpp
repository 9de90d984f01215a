// The connecting end. Who reads is `reader`: the I/O thread, which copies messages into `waiting`,
// or the caller inside receive(), who gets them in place.
#include "net/client.h"

#include <poll.h>
#include <string.h>

#include <algorithm>

#include "net/link.h"

namespace splitd::net {
namespace {

// Messages the I/O thread takes while nobody receives; then TCP holds the rest back. A client has
// at most 8 requests in flight (DESIGN §3).
constexpr size_t kMostWaiting = 32;
constexpr size_t kLoopWriteBytes = size_t{64} << 10;
constexpr size_t kShortHeader = 256;

// A message out of the frame reader's memory. Kept and used again.
struct Kept {
  std::string header_text;
  JsonDoc header;
  ByteBuffer payload;

  // Memory for what most messages are, before any came.
  void make_ready(size_t payload_bytes) {
    header_text.reserve(kShortHeader);
    (void)header.read_view(R"({"type":"rows","bytes":0,"seq":0,"n":0,"ms":0.1,"dead":[1,2,3,4]})");
    (void)payload.prepare(payload_bytes);
  }
};

}  // namespace

struct Client::State {
  State(LoopThread& the_io, std::unique_ptr<TcpStream> stream, ChannelOptions channel,
        ClientOptions given)
      : io(the_io),
        options(std::move(given)),
        link(io.loop(), std::move(stream), std::move(channel)) {}

  enum class Reader : uint8_t { io, caller };

  // With the mutex.
  Result<bool> advance();  // the channel's next event; whether it is a message
  void keep_message();
  void die(Error why, bool by_loss = false);
  void hand_back();  // the I/O thread reads again
  Result<Ready> read_ready(std::unique_lock<std::mutex>& lock, const Wait& wait);
  void note_round_trip();
  void drop_handed_out();
  void take_over();
  Frame hand_out();

  Status shake_hands(const Wait& wait);
  Status start();
  // The I/O thread.
  void on_ready(Readiness readiness);
  void io_read(bool from_socket);
  void on_time();

  LoopThread& io;
  ClientOptions options;
  Link link;  // its mutex guards all of this
  Timer timer;
  Reader reader = Reader::io;
  bool handed_out = false;  // `waiting[first]` is with the caller
  std::vector<Kept> waiting = std::vector<Kept>(kMostWaiting);  // a ring
  size_t first = 0;
  size_t count = 0;
  Status dead;
  bool lost = false;  // `dead` is nothing that the peer said
  std::string_view transport = "tcp";
  bool resumed = false;
  std::optional<Clock::duration> min_round_trip;
};

// --- With the mutex

void Client::State::die(Error why, bool by_loss) {
  if (!dead.ok()) return;
  dead = std::move(why);
  lost = by_loss;
  link.loop_reads = link.loop_writes = false;
  link.update_interest();
  link.stream->abort();  // wakes whoever waits on it
}

void Client::State::note_round_trip() {
  const std::optional<Clock::duration> last = link.channel.last_round_trip();
  if (last && (!min_round_trip || *last < *min_round_trip)) min_round_trip = last;
}

Result<bool> Client::State::advance() {
  Result<ChannelEvent> event = link.channel.next();
  note_round_trip();
  if (link.channel.has_pending() && !link.loop_writes) link.flush(kLoopWriteBytes);
  if (!event.ok()) {
    die(event.error(), link.channel.was_cut_off());
    return event.take_error();
  }
  if (*event == ChannelEvent::closed) {
    Error why = peer_error(link.stream->peer() + " closed the connection");
    die(why, true);
    return why;
  }
  return *event == ChannelEvent::message;
}

void Client::State::keep_message() {
  Kept& kept = waiting[(first + count) % kMostWaiting];
  const Frame& frame = link.channel.frame();
  kept.header_text = link.channel.header_text();
  (void)kept.header.read_view(kept.header_text);  // it was read before
  kept.payload.clear();
  kept.payload.append(frame.payload);
  ++count;
}

void Client::State::hand_back() {
  reader = Reader::io;
  link.loop_reads = dead.ok() && count < kMostWaiting;
  // The loop is not told by the socket of what was read already.
  if (link.loop_reads && link.channel.has_unread()) link.loop_writes = true;
  link.update_interest();
}

// --- Connecting

Status Client::State::shake_hands(const Wait& wait) {
  const std::string what = "connecting to " + link.stream->peer();
  const auto broken = [this](Error why) {
    lost = true;
    return why;
  };
  while (true) {
    Result<ChannelEvent> event = link.channel.next();
    if (!event) return link.channel.was_cut_off() ? broken(event.take_error()) : event.take_error();
    while (link.channel.has_pending()) {
      const std::span<const std::byte> bytes = link.channel.pending();
      if (Status sent = write_all(*link.stream, bytes, wait); !sent) {
        return broken(sent.take_error());
      }
      link.channel.consumed(bytes.size());
    }
    if (*event == ChannelEvent::opened) return {};
    if (*event == ChannelEvent::closed) {
      return broken(peer_error(what + ": the peer closed the connection"));
    }
    if (*event != ChannelEvent::need_more) return peer_error(what + ": a message before its time");
    Result<Link::Read> got = link.read_once();
    if (!got) return broken(got.take_error());
    if (*got == Link::Read::nothing)
      SPLITD_TRY(wait_until(*link.stream, Want::readable, wait, "connecting to"));
  }
}

Status Client::State::start() {
  transport = link.channel.transport_name();
  resumed = link.channel.is_resumed();
  link.watch.fd = link.stream->fd();
  link.watch.owner = this;
  link.watch.ready = [](Watch& watch, Readiness readiness) {
    static_cast<State*>(watch.owner)->on_ready(readiness);
  };
  timer.owner = this;
  timer.fire = [](Timer& fired) { static_cast<State*>(fired.owner)->on_time(); };
  const std::lock_guard lock(link.mutex);
  SPLITD_TRY(link.loop.add(link.watch, true, false));
  link.registered = true;
  link.interest = 1;
  link.pinged = Clock::now();
  link.channel.ping();
  link.flush(kLoopWriteBytes);
  link.loop.post([this] { on_time(); });
  return {};
}

Result<std::unique_ptr<Client>> Client::connect(LoopThread& io, const ClientOptions& options,
                                                const Wait& wait, bool* was_lost) {
  const Wait soon = wait.at_most(options.connect_timeout);
  SPLITD_ASSIGN(std::unique_ptr<TcpStream> stream,
                tcp_connect(options.host, options.port, soon, was_lost));
  if (!options.congestion.empty()) SPLITD_TRY(stream->set_congestion(options.congestion));
  ChannelOptions channel;
  channel.role = Role::client;
  channel.tls = options.tls;
  channel.websocket = options.websocket;
  channel.host = host_port(options.host, options.port);
  channel.frames = options.frames;
  auto state = std::make_unique<State>(io, std::move(stream), std::move(channel), options);
  Status hands = state->shake_hands(soon);
  if (!hands.ok()) {
    if (was_lost != nullptr) *was_lost = state->lost;
    return std::move(hands.take_error()).within(host_port(options.host, options.port));
  }
  SPLITD_TRY(state->start());
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}

Client::~Client() {
  close();
  // The I/O thread may be inside a callback: it gives the watch and the timer up itself.
  State& s = *state_;
  s.io.run_and_wait([&s] {
    s.link.loop.remove(s.link.watch);
    s.link.loop.cancel(s.timer);
  });
}

// --- The caller's thread

Client::Sending::Sending(Client& the_client, std::string_view header, size_t payload_bytes)
    : client(the_client) {
  State& s = *client.state_;
  s.link.mutex.lock();
  open = s.dead.ok() && s.link.channel.is_open();
  if (open) payload = s.link.channel.begin_message(header, payload_bytes);
}

Status Client::Sending::finish() {
  State& s = *client.state_;
  if (!open) return s.dead.ok() ? Status(peer_error("the connection is closed")) : s.dead;
  s.link.channel.end_message();
  s.link.flush_by_caller();
  return {};
}

Client::Sending::~Sending() {
  client.state_->link.mutex.unlock();
}

Status Client::send(std::string_view header, std::span<const std::byte> payload) {
  return send_filled(header, payload.size(), [&](std::span<std::byte> room) {
    if (!payload.empty()) ::memcpy(room.data(), payload.data(), payload.size());
  });
}

// Whether there was something to read before `wait` ended the matter. Looks for a while before it
// sleeps: a reply that is on its way costs no wake-up then.
Result<Ready> Client::State::read_ready(std::unique_lock<std::mutex>& lock, const Wait& wait) {
  const Clock::time_point until = std::min(Clock::now() + options.spin, wait.until);
  while (true) {
    if (!dead.ok()) return dead.error();
    Result<Link::Read> got = link.read_once();
    if (!got.ok()) {
      die(got.error(), true);
      return got.take_error();
    }
    if (*got != Link::Read::nothing) return Ready::yes;
    if (Clock::now() >= until) break;
    lock.unlock();  // the I/O thread may have to write
    lock.lock();
  }
  lock.unlock();
  pollfd descriptor{link.stream->fd(), POLLIN, 0};
  Result<Ready> ready = poll_until({&descriptor, 1}, wait);
  lock.lock();
  return ready;
}

// The message of the call before is not looked at any more.
void Client::State::drop_handed_out() {
  if (!handed_out) return;
  handed_out = false;
  --count;
  // From the beginning where it can, so that few of the places ever need memory.
  first = count == 0 ? 0 : (first + 1) % kMostWaiting;
}

void Client::State::take_over() {
  reader = Reader::caller;
  link.loop_reads = false;
  link.update_interest();
}

Frame Client::State::hand_out() {
  handed_out = true;
  Kept& kept = waiting[first];
  return {kept.header.root(), kept.payload.bytes()};
}

Result<std::optional<Frame>> Client::receive_until(const Wait& wait) {
  State& s = *state_;
  std::unique_lock lock(s.link.mutex);
  s.drop_handed_out();
  if (s.count > 0) return std::optional(s.hand_out());
  s.take_over();
  while (true) {
    if (!s.dead.ok()) return s.dead.error();
    SPLITD_ASSIGN(const bool message, s.advance());
    if (message) return std::optional(s.link.channel.frame());
    const Result<Ready> ready = s.read_ready(lock, wait);
    if (ready.ok() && *ready == Ready::yes) continue;
    s.hand_back();
    if (!ready.ok()) return ready.error();
    if (*ready == Ready::cancelled) return interrupted("waiting for " + s.link.stream->peer());
    return std::optional<Frame>();
  }
}

Result<Frame> Client::receive(const Wait& wait) {
  SPLITD_ASSIGN(const std::optional<Frame> frame, receive_until(wait));
  if (!frame) return timed_out("waiting for " + state_->link.stream->peer());
  return *frame;
}

void Client::release() {
  State& s = *state_;
  const std::lock_guard lock(s.link.mutex);
  s.drop_handed_out();
  s.hand_back();
}

void Client::set_frame_limits(FrameLimits limits) {
  State& s = *state_;
  const std::lock_guard lock(s.link.mutex);
  s.link.channel.set_frame_limits(limits);
  // A message that comes before it is asked for is rare: the first one, an hour later, shall find
  // its memory.
  if (s.count > 0) return;
  s.waiting[0].make_ready(std::min<uint64_t>(limits.max_payload_bytes, limits::kFrameReadBytes));
}

void Client::close() {
  State& s = *state_;
  const std::lock_guard lock(s.link.mutex);
  if (!s.dead.ok()) return;
  s.link.channel.close();
  s.link.flush(SIZE_MAX);
  s.link.stream->end_writing();
  s.dead = peer_error("the connection is closed");
  s.link.loop_reads = s.link.loop_writes = false;
  s.link.update_interest();
}

// --- Any thread

bool Client::is_open() const {
  const std::lock_guard lock(state_->link.mutex);
  return state_->dead.ok() && state_->link.channel.is_open();
}
bool Client::was_lost() const {
  const std::lock_guard lock(state_->link.mutex);
  return state_->lost;
}
uint64_t Client::unsent_bytes() const {
  return state_->link.unsent.load(std::memory_order_relaxed);
}
ClientTraffic Client::traffic() const {
  return {state_->link.bytes_in.load(), state_->link.bytes_out.load()};
}
std::string_view Client::transport_name() const {
  return state_->transport;
}
bool Client::is_resumed() const {
  return state_->resumed;
}

std::optional<Clock::duration> Client::min_round_trip() const {
  const std::lock_guard lock(state_->link.mutex);
  return state_->min_round_trip;
}

void Client::ping() {
  State& s = *state_;
  const std::lock_guard lock(s.link.mutex);
  if (!s.dead.ok()) return;
  s.link.pinged = Clock::now();
  s.link.channel.ping();
  s.link.flush_by_caller();
}

// --- The I/O thread

void Client::State::on_ready(Readiness readiness) {
  const std::lock_guard lock(link.mutex);
  if (!dead.ok()) return;
  if (readiness.writable) link.flush(kLoopWriteBytes);
  if (reader == Reader::io) io_read(readiness.readable || readiness.hangup);
}

// What is held already, and then what the socket has.
void Client::State::io_read(bool from_socket) {
  while (count < kMostWaiting) {
    const Result<bool> message = advance();
    if (!message.ok()) return;
    if (*message) {
      keep_message();
      continue;
    }
    if (!from_socket) return;
    const Result<Link::Read> got = link.read_once();
    if (!got.ok()) return die(got.error(), true);
    if (*got == Link::Read::nothing) return;
  }
  link.loop_reads = false;  // until the caller has taken some
  link.update_interest();
}

void Client::State::on_time() {
  const std::lock_guard lock(link.mutex);
  if (!dead.ok()) return;
  const Clock::time_point now = Clock::now();
  // While messages wait for the caller nothing is read, and silence means nothing.
  const bool full = count == kMostWaiting;
  const bool waiting_for_pong = link.pinged > link.heard;
  if (!full && waiting_for_pong && now - link.pinged >= options.pong_timeout) {
    return die(peer_error(link.stream->peer() + " is silent for " +
                          std::to_string(options.pong_timeout.count()) + " ms after a ping"));
  }
  if (!waiting_for_pong && now - link.heard >= options.ping_after) {
    link.pinged = now;
    link.channel.ping();
    link.flush(kLoopWriteBytes);
  }
  link.loop.set(timer, now + std::min(options.ping_after, options.pong_timeout));
}

}  // namespace splitd::net

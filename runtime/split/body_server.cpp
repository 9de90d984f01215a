#include "runtime/split/body_server.h"

#include <utility>

namespace splitd {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{500};
constexpr milliseconds kDrainTick{50};

std::shared_ptr<BodyPeer> peer_of(const std::shared_ptr<net::Connection>& connection) {
  auto peer = std::make_shared<BodyPeer>();
  peer->identity = connection->identity();
  peer->send = [connection](std::string_view header, size_t bytes, BodyPeer::Fill fill,
                            void* from) {
    return connection->send_filled(header, bytes, [&](std::span<std::byte> payload) {
      if (fill != nullptr) fill(from, payload);
    });
  };
  peer->unsent_bytes = [connection] { return connection->unsent_bytes(); };
  peer->close = [connection] { connection->close(); };
  peer->admit = [connection](net::FrameLimits limits) { connection->admit(limits); };
  return peer;
}

// What connections say, in the form of what sessions say.
Log structured(const Log& log) {
  return Log([log](LogLevel level, std::string_view text) {
    if (level == LogLevel::warning) return log.warning(text);
    std::string line = "event=connection message=\"";
    for (const char c : text) line += c == '"' ? '\'' : c;
    log.debug(line + '"');
  });
}

std::shared_ptr<BodyPeer> context_of(const net::Connection& connection) {
  return std::static_pointer_cast<BodyPeer>(connection.context);
}

}  // namespace

BodyServer::BodyServer(net::Loop& loop, BodyServerOptions options)
    : loop_(loop), options_(std::move(options)) {}

Result<std::unique_ptr<BodyServer>> BodyServer::start(net::Loop& loop, BodyModel model,
                                                      BodyServerOptions options) {
  std::unique_ptr<BodyServer> out(new BodyServer(loop, std::move(options)));
  SPLITD_ASSIGN(out->body_, Body::start(std::move(model), out->options_.body));
  net::ServerOptions net = out->options_.net;
  net.log = structured(net.log);
  SPLITD_ASSIGN(out->server_, net::Server::listen(loop, std::move(net), out->events()));
  out->timer_.owner = out.get();
  out->timer_.fire = [](net::Timer& timer) { static_cast<BodyServer*>(timer.owner)->tick(); };
  loop.set(out->timer_, net::Clock::now() + kTick);
  return out;
}

BodyServer::~BodyServer() {
  loop_.cancel(timer_);
  body_.reset();
  for (const auto& [id, connection] : connections_) connection->context.reset();
}

net::ServerEvents BodyServer::events() {
  net::ServerEvents events;
  events.opened = [this](const Connection& connection) { opened(connection); };
  events.message = [this](const Connection& connection, const net::Frame& frame) -> Status {
    body_->message(context_of(*connection), frame.header, frame.payload);
    return {};
  };
  events.http = [this](const net::HttpRequest& request) { return answer(request); };
  events.closed = [this](const Connection& connection, const Error&) { closed(connection); };
  return events;
}

// The peer holds its connection and the connection its peer, until closed() parts them.
void BodyServer::opened(const Connection& connection) {
  connection->context = peer_of(connection);
  connections_.emplace(connection->id(), connection);
}

void BodyServer::closed(const Connection& connection) {
  body_->closed(context_of(*connection));
  connection->context.reset();
  bytes_in_ += connection->bytes_in();
  bytes_out_ += connection->bytes_out();
  connections_.erase(connection->id());
}

TrafficCounters BodyServer::traffic() const {
  const net::ServerCounters counters = server_->counters();
  TrafficCounters out{counters.connections, counters.accepted, counters.refused, bytes_in_,
                      bytes_out_};
  for (const auto& [id, connection] : connections_) {
    out.bytes_in += connection->bytes_in();
    out.bytes_out += connection->bytes_out();
  }
  return out;
}

net::HttpAnswer BodyServer::answer(const net::HttpRequest& request) const {
  const bool trusted = options_.net.tls == nullptr || request.secure;
  if (request.target == "/healthz") return {.status = 200, .body = "ok\n"};
  if (request.target == "/readyz") {
    if (body_->is_draining()) return {.status = 503, .body = "draining\n"};
    return {.status = 200, .body = "ready\n"};
  }
  if (request.target == "/metrics" && trusted) {
    return {.status = 200,
            .content_type = "text/plain; version=0.0.4; charset=utf-8",
            .body = body_->metrics().page(body_->gauges(), traffic())};
  }
  return {.status = 404, .body = "not here\n"};
}

void BodyServer::drain() {
  loop_.post([this] {
    if (body_->is_draining()) return;
    const net::Clock::time_point now = net::Clock::now();
    body_->drain(now + options_.drain);
    loop_.set(timer_, now);
  });
}

void BodyServer::tick() {
  const net::Clock::time_point now = net::Clock::now();
  body_->tick(now);
  loop_.set(timer_, now + (body_->is_draining() ? kDrainTick : kTick));
  if (!body_->is_draining() || !body_->is_drained()) return;
  if (!ending_) {
    // Last words are on their way; who does not take them gets no more time.
    ending_ = true;
    ends_at_ = now + net::limits::kCloseLinger;
    server_->stop_accepting();
    for (const auto& [id, connection] : connections_) connection->close();
  }
  if (server_->counters().connections == 0 || now >= ends_at_) loop_.stop();
}

}  // namespace splitd

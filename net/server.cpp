// Listening, and the caps on who is connected.
#include "net/server.h"

#include <fcntl.h>

#include "net/server_state.h"

namespace splitd::net {
namespace {

FileDescriptor spare_descriptor() {
  return FileDescriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Server>> Server::listen(Loop& loop, ServerOptions options,
                                               ServerEvents events) {
  SPLITD_ASSIGN(TcpListener listener, TcpListener::listen(options.host, options.port));
  if (!options.congestion.empty()) SPLITD_TRY(listener.set_congestion(options.congestion));
  auto state =
      std::make_unique<State>(loop, std::move(listener), std::move(options), std::move(events));
  State& s = *state;
  s.spare = spare_descriptor();
  s.watch.fd = s.listener.fd();
  s.watch.owner = &s;
  s.watch.ready = [](Watch& ready, Readiness) {
    static_cast<Server::State*>(ready.owner)->accept_some();
  };
  s.accept_again.owner = &s;
  s.accept_again.fire = [](Timer& timer) {
    auto& server = *static_cast<Server::State*>(timer.owner);
    if (server.accepting) server.loop.change(server.watch, true, false);
  };
  SPLITD_TRY(loop.add(s.watch, true, false));
  s.accepting = true;
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::~Server() {
  stop_accepting();
  for (auto& [id, connection] : state_->connections) {
    Connection::State& s = *connection->state_;
    const std::lock_guard lock(s.link.mutex);
    s.link.loop.remove(s.link.watch);
    s.link.loop.cancel(s.timer);
    s.link.registered = false;
    s.open = false;
    s.link.stream->abort();
  }
}

uint16_t Server::port() const {
  return state_->listener.port();
}
const std::string& Server::address() const {
  return state_->listener.address();
}

void Server::stop_accepting() {
  State& s = *state_;
  if (!s.accepting) return;
  s.accepting = false;
  s.loop.remove(s.watch);
  s.loop.cancel(s.accept_again);
  s.listener.close();
}

ServerCounters Server::counters() const {
  const State& s = *state_;
  return {s.accepted.load(), s.refused.load(), s.connection_count.load(), s.stranger_count.load()};
}

// --- Taking connections

void Server::State::accept_some() {
  for (int i = 0; i < limits::kAcceptsPerRound; ++i) {
    Result<TcpListener::Accepted> next = listener.try_accept();
    if (!next.ok()) {
      options.log.warning(next.error().message);
      return pause_accepting();
    }
    if (next->exhausted) {
      // The system says so before it looks whether anybody waits. The loop said that for the first.
      return i == 0 ? out_of_descriptors() : void();
    }
    if (!next->stream) return;
    take(std::move(next->stream));
  }
}

void Server::State::pause_accepting() {
  loop.change(watch, false, false);
  loop.set(accept_again, Clock::now() + limits::kAcceptPause);
}

// Whoever waits in the queue cannot be left there: the listener would stay ready, and they in
// doubt.
void Server::State::out_of_descriptors() {
  // Somebody's descriptor is free at once; the next round accepts again.
  if (close_somebody("there is no descriptor left")) return;
  spare = FileDescriptor();
  (void)listener.try_accept();  // and closed: they see an end
  refused.fetch_add(1);
  spare = spare_descriptor();
  options.log.warning("no file descriptor is left for a new connection");
  pause_accepting();
}

bool Server::State::make_room(const std::string& group) {
  const auto found = groups.find(group);
  if (found != groups.end() && found->second.size() >= options.max_strangers_per_address) {
    close_oldest(found->second, "too many connections of this address before hello");
  } else if (strangers.size() >= options.max_strangers) {
    close_oldest(strangers, "too many connections before hello");
  }
  return connections.size() < options.max_connections || close_somebody("too many connections");
}

bool Server::State::close_somebody(std::string_view why) {
  if (leaving.empty() && strangers.empty()) return false;
  close_oldest(leaving.empty() ? strangers : leaving, why);
  return true;
}

void Server::State::close_oldest(std::list<Connection*>& list, std::string_view why) {
  Connection::State& oldest = *list.front()->state_;
  options.log.debug(oldest.link.stream->peer() + " is closed: " + std::string(why));
  oldest.drop();
}

void Server::State::take(std::unique_ptr<TcpStream> stream) {
  accepted.fetch_add(1);
  const std::string_view host = host_of(stream->peer());
  const std::string group = address_group(host);
  if (!make_room(group)) {
    refused.fetch_add(1);
    options.log.warning(stream->peer() + " is refused: " + std::to_string(options.max_connections) +
                        " connections are open");
    return;
  }
  ChannelOptions channel;
  channel.role = Role::server;
  channel.tls = options.tls;
  channel.from_loopback = is_loopback_address(host);
  channel.frames = options.before_hello;
  auto connection_state =
      std::make_unique<Connection::State>(*this, loop, std::move(stream), std::move(channel));
  Connection::State& s = *connection_state;
  s.id = next_id++;
  s.group = group;
  s.link.watch.owner = &s;
  s.link.watch.fd = s.link.stream->fd();
  s.link.watch.ready = [](Watch& ready, Readiness readiness) {
    static_cast<Connection::State*>(ready.owner)->on_ready(readiness);
  };
  s.timer.owner = &s;
  s.timer.fire = [](Timer& timer) { static_cast<Connection::State*>(timer.owner)->on_time(); };
  if (!loop.add(s.link.watch, true, false).ok()) return;
  s.link.registered = true;
  s.link.interest = 1;
  const std::shared_ptr<Connection> connection(new Connection(std::move(connection_state)));
  connections.emplace(s.id, connection);
  s.stranger_place = strangers.insert(strangers.end(), connection.get());
  std::list<Connection*>& same = groups[s.group];
  s.group_place = same.insert(same.end(), connection.get());
  connection_count.store(connections.size());
  stranger_count.store(strangers.size());
  loop.set(s.timer, s.since + options.hello_timeout);
}

void Server::State::no_longer_stranger(Connection::State& connection) {
  strangers.erase(connection.stranger_place);
  const auto found = groups.find(connection.group);
  found->second.erase(connection.group_place);
  if (found->second.empty()) groups.erase(found);
  stranger_count.store(strangers.size());
}

}  // namespace splitd::net

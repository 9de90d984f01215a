#include "tests/lab/proxy_loop.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace splitd::lab {
namespace {

constexpr Nanoseconds kPendingCutInterval{200'000};

Result<sockaddr_in> ipv4_address(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1) return address;
  return usage_error("address \"" + host + "\": an IPv4 address such as 127.0.0.1");
}

const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void no_delay(int socket) {
  const int one = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void reset(FileDescriptor& socket) {
  if (!socket.valid()) return;
  const linger at_once{1, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(socket.release());
}

}  // namespace

Status WanProxy::Loop::listen() {
  SPLITD_ASSIGN(const sockaddr_in address,
                ipv4_address(options_.listen_host, options_.listen_port));
  SPLITD_TRY([&]() -> Status {
    const auto target = ipv4_address(options_.target_host, options_.target_port);
    return target.ok() ? Status() : Status(target.error());
  }());
  listener_ = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener_.valid()) return system_error("socket");
  const int one = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(listener_.get(), generic(address), sizeof address) != 0 ||
      ::listen(listener_.get(), 1024) != 0) {
    return system_error("listening on " + options_.listen_host + ":" +
                        std::to_string(options_.listen_port));
  }
  sockaddr_in bound{};
  socklen_t length = sizeof bound;
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &length);
  port_ = ntohs(bound.sin_port);
  return {};
}

// --- Counters

// What a peer can see of a change happens after it, or within: who then asks is told.
void WanProxy::Loop::count(const std::function<void(ProxyCounters&)>& change) {
  const std::lock_guard lock(mutex_);
  change(counters_);
  counters_changed_.notify_all();
}

ProxyCounters WanProxy::Loop::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

bool WanProxy::Loop::wait(const std::function<bool(const ProxyCounters&)>& condition,
                          std::chrono::milliseconds limit) const {
  std::unique_lock lock(mutex_);
  return counters_changed_.wait_for(lock, limit, [&] { return condition(counters_); });
}

// --- Faults

void WanProxy::Loop::cut(Cut how) {
  pending_cut_.reset();
  cut_after_ = {};
  count([&](ProxyCounters& counters) {
    counters.open = 0;
    counters.cuts += connections_.size();
  });
  for (const std::unique_ptr<Connection>& connection : connections_) {
    for (FileDescriptor* socket : {&connection->client, &connection->target}) {
      if (!socket->valid()) continue;
      if (how == Cut::reset) {
        reset(*socket);
      } else {
        ::shutdown(socket->get(), SHUT_WR);
        orphans_.push_back({std::move(*socket)});
      }
    }
  }
  connections_.clear();
}

void WanProxy::Loop::cut_after(Direction direction, uint64_t bytes, Cut how) {
  if (bytes == 0) return cut(how);
  cut_after_[static_cast<size_t>(direction)] = CutAfter{bytes, how};
}

void WanProxy::Loop::vanish(End end) {
  count([](ProxyCounters& counters) { counters.open = 0; });
  for (const std::unique_ptr<Connection>& connection : connections_) {
    FileDescriptor& gone = end == End::client ? connection->client : connection->target;
    FileDescriptor& left = end == End::client ? connection->target : connection->client;
    reset(gone);
    if (left.valid()) orphans_.push_back({std::move(left), true});
  }
  connections_.clear();
}

void WanProxy::Loop::resume() {
  for (ProxyLink& link : links_) link.paused = false;
}

// All bytes were handed to the receiver's kernel, or its socket is gone: only now the cut.
void WanProxy::Loop::try_pending_cut() {
  if (!pending_cut_) return;
  int unsent = 0;
  if (::ioctl(pending_cut_->receiver, SIOCOUTQNSD, &unsent) == 0 && unsent > 0) return;
  cut(pending_cut_->how);
}

// --- Connections

void WanProxy::Loop::accept_all() {
  while (true) {
    FileDescriptor client(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.valid()) return;
    FileDescriptor target(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto address = ipv4_address(options_.target_host, options_.target_port);
    const bool connects =
        !refusing_ && target.valid() &&
        (::connect(target.get(), generic(*address), sizeof *address) == 0 || errno == EINPROGRESS);
    if (!connects) {
      count([](ProxyCounters& counters) { ++counters.accepted, ++counters.refused; });
      reset(client);
      continue;
    }
    no_delay(client.get());
    no_delay(target.get());
    auto connection = std::make_unique<Connection>();
    connection->client = std::move(client);
    connection->target = std::move(target);
    // On a real link the client's connect() takes a round trip, the server's accept() half of one.
    const Time now = Clock::now();
    const Nanoseconds up = link(Direction::up).delay;
    connection->pipe(Direction::up).not_before(now + up + link(Direction::down).delay);
    connection->pipe(Direction::down).not_before(now + up);
    connections_.push_back(std::move(connection));
    count([](ProxyCounters& counters) { ++counters.accepted, ++counters.open; });
  }
}

void WanProxy::Loop::finish_connecting(Connection& connection) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(connection.target.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  connection.connecting = false;
  if (error == 0) return;
  count([](ProxyCounters& counters) { ++counters.refused; });
  reset(connection.client);
  connection.done = true;
}

// The receiver's socket failed: what it sent before arrives at the sender, then a reset. If it had
// ended its stream before, the reset is all that is left to say.
void WanProxy::Loop::lose_receiver(Connection& connection, Direction direction) {
  const Direction back = direction == Direction::up ? Direction::down : Direction::up;
  connection.pipe(direction).discard();
  connection.pipe(back).end_with_reset(link(back));
  connection.receiver(direction) = FileDescriptor();
  if (connection.pipe(back).state() != PipeState::ended) return;
  reset(connection.sender(direction));
  connection.done = true;
}

void WanProxy::Loop::deliver(Connection& connection, Direction direction, Time now) {
  if (!connection.client.valid() && !connection.target.valid()) connection.done = true;
  if (connection.connecting || connection.done || link(direction).paused) return;
  FileDescriptor& receiver = connection.receiver(direction);
  ProxyPipe& pipe = connection.pipe(direction);
  if (!receiver.valid()) return;
  std::optional<CutAfter>& armed = cut_after_[static_cast<size_t>(direction)];
  const uint64_t most = armed ? armed->bytes : UINT64_MAX;
  uint64_t written = 0;
  count([&](ProxyCounters& counters) {
    written = pipe.deliver(receiver.get(), now, most);
    (direction == Direction::up ? counters.bytes_up : counters.bytes_down) += written;
  });
  if (armed && written > 0 && (armed->bytes -= written) == 0) {
    pending_cut_ = PendingCut{receiver.get(), armed->how};
    armed.reset();
    return;
  }
  if (pipe.wants_reset()) {
    reset(receiver);
    connection.done = true;
  } else if (pipe.state() == PipeState::broken) {
    lose_receiver(connection, direction);
  } else if (connection.pipes[0].state() == PipeState::ended &&
             connection.pipes[1].state() == PipeState::ended) {
    connection.done = true;
  }
}

void WanProxy::Loop::deliver_all() {
  const Time now = Clock::now();
  for (const std::unique_ptr<Connection>& connection : connections_) {
    for (const Direction direction : {Direction::up, Direction::down}) {
      if (pending_cut_) return;
      deliver(*connection, direction, now);
    }
  }
}

void WanProxy::Loop::forget_done() {
  const size_t before = connections_.size();
  std::erase_if(connections_, [](const auto& connection) { return connection->done; });
  std::erase_if(orphans_, [](const Orphan& orphan) { return !orphan.socket.valid(); });
  if (connections_.size() == before) return;
  count([&](ProxyCounters& counters) { counters.open = connections_.size(); });
}

void WanProxy::Loop::swallow(Orphan& orphan) {
  std::array<std::byte, 16384> scrap;
  const ssize_t count = ::recv(orphan.socket.get(), scrap.data(), scrap.size(), MSG_DONTWAIT);
  if (count > 0 || (count < 0 && errno == EAGAIN)) return;
  if (count == 0 && orphan.stays) {
    orphan.ended = true;
  } else {
    orphan.socket = FileDescriptor();
  }
}

// --- The loop

std::optional<Time> WanProxy::Loop::next_due() {
  if (pending_cut_) return Clock::now() + kPendingCutInterval;
  std::optional<Time> next;
  for (const std::unique_ptr<Connection>& connection : connections_) {
    if (connection->connecting) continue;
    for (const Direction direction : {Direction::up, Direction::down}) {
      const ProxyPipe& pipe = connection->pipe(direction);
      if (link(direction).paused || pipe.state() != PipeState::open || !pipe.has_pieces()) continue;
      next = next ? std::min(*next, pipe.due()) : pipe.due();
    }
  }
  return next;
}

// Fills ready_: the mailbox, the listener, two of every connection, one of every orphan. Who is
// waited for nothing is left out, or its error would end every wait.
void WanProxy::Loop::poll_all() {
  const auto entry = [](const FileDescriptor& socket, bool in, bool out) {
    const int events = (in ? POLLIN : 0) | (out ? POLLOUT : 0);
    return pollfd{events == 0 ? -1 : socket.get(), static_cast<short>(events), 0};
  };
  ready_.clear();
  ready_.push_back({mailbox_.fd(), POLLIN, 0});
  ready_.push_back(entry(listener_, !link(Direction::up).paused, false));
  for (const std::unique_ptr<Connection>& connection : connections_) {
    Connection& c = *connection;
    const bool up = !c.connecting && c.pipe(Direction::up).wants_bytes(link(Direction::up));
    const bool down = !c.connecting && c.pipe(Direction::down).wants_bytes(link(Direction::down));
    const bool up_blocked = c.pipe(Direction::up).state() == PipeState::blocked;
    const bool down_blocked = c.pipe(Direction::down).state() == PipeState::blocked;
    ready_.push_back(entry(c.client, up, down_blocked));
    ready_.push_back(entry(c.target, down, up_blocked || c.connecting));
  }
  for (const Orphan& orphan : orphans_)
    ready_.push_back(entry(orphan.socket, !orphan.ended, false));

  timespec timeout{};
  const std::optional<Time> due = next_due();
  if (due) {
    const int64_t left = std::max<int64_t>(0, Nanoseconds(*due - Clock::now()).count());
    timeout = {left / 1'000'000'000, left % 1'000'000'000};
  }
  if (::ppoll(ready_.data(), ready_.size(), due ? &timeout : nullptr, nullptr) < 0) {
    for (pollfd& one : ready_) one.revents = 0;
  }
}

void WanProxy::Loop::handle(Connection& connection, const pollfd& client, const pollfd& target) {
  if (connection.connecting) {
    if (target.revents != 0) finish_connecting(connection);
    return;
  }
  if (client.revents & (POLLOUT | POLLERR)) connection.pipe(Direction::down).unblock();
  if (target.revents & (POLLOUT | POLLERR)) connection.pipe(Direction::up).unblock();
  for (const Direction direction : {Direction::up, Direction::down}) {
    const pollfd& ready = direction == Direction::up ? client : target;
    if (ready.revents == 0 || (ready.events & POLLIN) == 0) continue;
    FileDescriptor& sender = connection.sender(direction);
    if (connection.pipe(direction).take_in(sender.get(), link(direction))) continue;
    const Direction back = direction == Direction::up ? Direction::down : Direction::up;
    connection.pipe(back).discard();
    sender = FileDescriptor();
  }
}

void WanProxy::Loop::run() {
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  while (!mailbox_.is_stopping()) {
    poll_all();
    size_t next = 2;
    for (size_t i = 0; i < connections_.size(); ++i, next += 2) {
      handle(*connections_[i], ready_[next], ready_[next + 1]);
    }
    for (size_t i = 0; i < orphans_.size(); ++i, ++next) {
      if (ready_[next].revents != 0) swallow(orphans_[i]);
    }
    if (ready_[1].revents != 0) accept_all();
    deliver_all();
    try_pending_cut();
    forget_done();
    mailbox_.run_pending();  // may end connections: ready_ is stale from here on
  }
  cut(Cut::reset);
}

}  // namespace splitd::lab

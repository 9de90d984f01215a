// Sockets, and the race between a name's addresses.
#include "net/tcp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "net/addresses.h"
#include "net/limits.h"

namespace splitd::net {
namespace {

Error socket_error(std::string what, int code) {
  errno = code;
  Error error = system_error(std::move(what));
  error.kind = ErrorKind::peer;
  return error;
}

bool would_block(int code) {
  return code == EAGAIN || code == EWOULDBLOCK;
}

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

FileDescriptor new_socket(int family) {
  return FileDescriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

std::string host_port(const std::string& host, uint16_t port) {
  const bool six = host.find(':') != std::string::npos;
  return (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<std::unique_ptr<TcpStream>> TcpStream::adopt(FileDescriptor socket, std::string peer) {
  const int fd = socket.get();
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return system_error("cannot set up the connection to " + peer);
  }
  // Each of these only makes the connection better: a system that lacks one still works.
  (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  (void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  (void)set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, limits::kKeepAliveIdleSeconds);
  (void)set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, limits::kKeepAliveIntervalSeconds);
  (void)set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, limits::kKeepAliveProbes);
  return std::unique_ptr<TcpStream>(new TcpStream(std::move(socket), std::move(peer)));
}

Result<Io> TcpStream::try_read(std::span<std::byte> into) {
  while (true) {
    const ssize_t count = ::recv(socket_.get(), into.data(), into.size(), 0);
    if (count > 0) return Io{static_cast<size_t>(count), Want::nothing, false};
    if (count == 0) return Io{0, Want::nothing, true};
    if (would_block(errno)) return Io{0, Want::readable, false};
    if (errno != EINTR) return socket_error("reading from " + peer_, errno);
  }
}

Result<Io> TcpStream::try_write(std::span<const std::byte> bytes) {
  while (true) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return Io{static_cast<size_t>(count), Want::nothing, false};
    if (would_block(errno)) return Io{0, Want::writable, false};
    if (errno != EINTR) return socket_error("writing to " + peer_, errno);
  }
}

namespace {

// The connection attempts to one peer that are under way.
class Race {
 public:
  Race(std::vector<Address> addresses, std::string peer)
      : addresses_(std::move(addresses)), peer_(std::move(peer)) {}

  Result<std::unique_ptr<TcpStream>> run(const Wait& wait) {
    const std::string what = "connecting to " + peer_;
    Clock::time_point next_at = Clock::now();
    while (true) {
      if (wait.cancelled()) return interrupted(what);
      if (next_ < addresses_.size() && (running_.empty() || Clock::now() >= next_at)) {
        start_next();
        next_at = Clock::now() + limits::kNextAddress;
        if (winner_.valid()) return TcpStream::adopt(std::move(winner_), peer_);
        continue;
      }
      if (running_.empty()) return socket_error(what, last_code_);
      const bool more = next_ < addresses_.size();
      const Wait step{more ? std::min(next_at, wait.until) : wait.until, wait.cancel};
      SPLITD_ASSIGN(const Ready ready, look(step));
      if (ready == Ready::cancelled) return interrupted(what);
      if (winner_.valid()) return TcpStream::adopt(std::move(winner_), peer_);
      if (ready == Ready::timed_out && Clock::now() >= wait.until) return timed_out(what);
      if (ready == Ready::yes) next_at = Clock::now();  // one failed: do not wait for its turn
    }
  }

 private:
  void start_next() {
    const Address& address = addresses_[next_++];
    FileDescriptor socket = new_socket(address.family);
    if (!socket.valid()) {
      last_code_ = errno;
    } else if (::connect(socket.get(), address.get(), address.length) == 0) {
      winner_ = std::move(socket);
    } else if (errno == EINPROGRESS) {
      running_.push_back(std::move(socket));
    } else {
      last_code_ = errno;
    }
  }

  Result<Ready> look(const Wait& wait) {
    std::array<pollfd, limits::kMaxAddresses> descriptors{};
    const size_t count = running_.size();  // ≤ kMaxAddresses
    for (size_t i = 0; i < count; ++i) descriptors[i] = {running_[i].get(), POLLOUT, 0};
    SPLITD_ASSIGN(const Ready ready, poll_until({descriptors.data(), count}, wait));
    if (ready != Ready::yes) return ready;
    for (size_t i = count; i-- > 0;) {
      if (descriptors[i].revents == 0) continue;
      int code = 0;
      socklen_t length = sizeof code;
      if (::getsockopt(running_[i].get(), SOL_SOCKET, SO_ERROR, &code, &length) != 0) code = errno;
      if (code == 0) {
        winner_ = std::move(running_[i]);
        return ready;
      }
      last_code_ = code;
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return ready;
  }

  std::vector<Address> addresses_;
  std::string peer_;
  size_t next_ = 0;
  std::vector<FileDescriptor> running_;
  FileDescriptor winner_;
  int last_code_ = ECONNREFUSED;
};

}  // namespace

Result<std::unique_ptr<TcpStream>> tcp_connect(const std::string& host, uint16_t port,
                                               const Wait& wait) {
  SPLITD_ASSIGN(std::vector<Address> addresses, resolve(host, port, false, wait));
  return Race(std::move(addresses), host_port(host, port)).run(wait);
}

Result<TcpListener> TcpListener::listen(const std::string& host, uint16_t port) {
  const std::string what = "listening on " + host_port(host, port);
  SPLITD_ASSIGN(const std::vector<Address> addresses,
                resolve(host, port, true, Wait::for_at_most(limits::kConnect)));
  const Address& address = addresses.front();
  TcpListener out(new_socket(address.family));
  const int fd = out.fd();
  // A restarted server gets its port back although old connections linger.
  if (fd < 0 || !set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
      ::bind(fd, address.get(), address.length) != 0 || ::listen(fd, SOMAXCONN) != 0) {
    return system_error(what);
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return system_error(what);
  }
  uint16_t network_order = 0;
  const size_t offset = bound.ss_family == AF_INET6 ? offsetof(sockaddr_in6, sin6_port)
                                                    : offsetof(sockaddr_in, sin_port);
  std::memcpy(&network_order, reinterpret_cast<const char*>(&bound) + offset, sizeof network_order);
  out.port_ = ntohs(network_order);
  return out;
}

Result<std::unique_ptr<TcpStream>> TcpListener::accept(const Wait& wait) {
  while (true) {
    Address address;
    address.length = sizeof address.bytes;
    FileDescriptor socket(::accept4(fd(), reinterpret_cast<sockaddr*>(&address.bytes),
                                    &address.length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      address.family = address.bytes.ss_family;
      return TcpStream::adopt(std::move(socket), address_text(address));
    }
    // The connection may be gone again before it was taken.
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (!would_block(errno)) return system_error("accepting a connection");
    SPLITD_TRY(wait_for(fd(), POLLIN, wait, "accepting a connection"));
  }
}

}  // namespace splitd::net

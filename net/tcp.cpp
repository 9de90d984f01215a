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
#include "net/text.h"

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
  (void)set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, limits::kNotSentBytes);
  return std::unique_ptr<TcpStream>(new TcpStream(std::move(socket), std::move(peer)));
}

namespace {

Status set_congestion_of(int fd, const std::string& name) {
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                   static_cast<socklen_t>(name.size())) == 0) {
    return {};
  }
  std::string known = "unknown";
  if (Result<std::string> text =
          read_file("/proc/sys/net/ipv4/tcp_available_congestion_control", 4096)) {
    known = text->substr(0, text->find('\n'));
  }
  return usage_error("congestion control " + quoted(name) +
                     " is not to be had here; there are: " + known);
}

}  // namespace

Status TcpStream::set_congestion(const std::string& name) {
  return set_congestion_of(fd(), name);
}

Status TcpListener::set_congestion(const std::string& name) {
  return set_congestion_of(fd(), name);
}

void TcpStream::end_writing() {
  (void)::shutdown(fd(), SHUT_WR);
}

void TcpStream::abort() {
  (void)::shutdown(fd(), SHUT_RDWR);
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

  bool was_reset() const { return was_reset_; }

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
      was_reset_ = was_reset_ || code == ECONNRESET;  // a closed port is ECONNREFUSED
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
  bool was_reset_ = false;
};

}  // namespace

Result<std::unique_ptr<TcpStream>> tcp_connect(const std::string& host, uint16_t port,
                                               const Wait& wait, bool* was_reset) {
  SPLITD_ASSIGN(std::vector<Address> addresses, resolve(host, port, false, wait));
  Race race(std::move(addresses), host_port(host, port));
  Result<std::unique_ptr<TcpStream>> winner = race.run(wait);
  if (was_reset != nullptr) *was_reset = !winner && race.was_reset();
  return winner;
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
  Address at;
  at.bytes = bound;
  at.length = length;
  at.family = bound.ss_family;
  out.address_ = address_text(at);
  return out;
}

Result<TcpListener::Accepted> TcpListener::try_accept() {
  while (true) {
    Address address;
    address.length = sizeof address.bytes;
    FileDescriptor socket(::accept4(fd(), reinterpret_cast<sockaddr*>(&address.bytes),
                                    &address.length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      address.family = address.bytes.ss_family;
      Accepted out;
      SPLITD_ASSIGN(out.stream, TcpStream::adopt(std::move(socket), address_text(address)));
      return out;
    }
    // The connection may be gone again before it was taken; Linux passes its errors on here.
    switch (errno) {
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
      case ENETDOWN:
      case ENETUNREACH:
      case EHOSTDOWN:
      case EHOSTUNREACH:
      case ENONET:
      case ENOPROTOOPT:
      case EPERM:  // a firewall's refusal
        continue;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return Accepted{nullptr, true};
      default:
        break;
    }
    if (would_block(errno)) return Accepted{};
    return system_error("accepting a connection");
  }
}

Result<std::unique_ptr<TcpStream>> TcpListener::accept(const Wait& wait) {
  while (true) {
    SPLITD_ASSIGN(Accepted accepted, try_accept());
    if (accepted.stream) return std::move(accepted.stream);
    if (accepted.exhausted) return system_error("accepting a connection");
    SPLITD_TRY(wait_for(fd(), POLLIN, wait, "accepting a connection"));
  }
}

std::string_view host_of(std::string_view host_and_port) {
  std::string_view host = host_and_port.substr(0, host_and_port.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

namespace {

// IPv4 inside IPv6 (::ffff:192.0.2.1) as the IPv4 that it is.
std::string plain_ip_bytes(std::string_view host) {
  const std::string bytes = ip_bytes(std::string(host.substr(0, host.find('%'))));
  static constexpr char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\xff', '\xff'};
  const bool mapped = bytes.size() == 16 && std::memcmp(bytes.data(), kMapped, 12) == 0;
  return mapped ? bytes.substr(12) : bytes;
}

}  // namespace

bool is_loopback_address(std::string_view host) {
  const std::string bytes = plain_ip_bytes(host);
  if (bytes.size() == 4) return bytes[0] == 127;
  return bytes.size() == 16 && bytes == std::string(15, '\0') + '\x01';
}

std::string address_group(std::string_view host) {
  const std::string bytes = plain_ip_bytes(host);
  return bytes.size() == 16 ? bytes.substr(0, 8) : bytes;
}

}  // namespace splitd::net

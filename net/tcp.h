// Owns: TCP. Connecting (names resolved off-thread so that the deadline holds, addresses raced as
// RFC 8305 says, IPv6 and IPv4), listening, and the socket as a Transport: non-blocking, no Nagle,
// keep-alive, no SIGPIPE. A name is at most kMaxHostBytes; "[::1]" is written "::1".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/transport.h"

namespace splitd::net {

class TcpStream final : public Transport {
 public:
  // Takes over a connected socket.
  static Result<std::unique_ptr<TcpStream>> adopt(FileDescriptor socket, std::string peer);

  Result<Io> try_read(std::span<std::byte> into) override;
  Result<Io> try_write(std::span<const std::byte> bytes) override;
  int fd() const override { return socket_.get(); }
  const std::string& peer() const override { return peer_; }

  // "bbr", "cubic": an error names what this system has.
  Status set_congestion(const std::string& name);
  // No more is written: the peer sees our end.
  void end_writing();
  // Both directions: whoever waits on the socket wakes.
  void abort();
  // The descriptor is given back; the stream is of no more use.
  void close() { socket_ = FileDescriptor(); }

 private:
  TcpStream(FileDescriptor socket, std::string peer)
      : socket_(std::move(socket)), peer_(std::move(peer)) {}
  FileDescriptor socket_;
  std::string peer_;
};

// `was_reset`: an address answered, and with the handshake done it broke off at once.
[[nodiscard]] Result<std::unique_ptr<TcpStream>> tcp_connect(const std::string& host, uint16_t port,
                                                             const Wait& wait,
                                                             bool* was_reset = nullptr);

class TcpListener {
 public:
  // A numeric address or a name; port 0 lets the system choose.
  static Result<TcpListener> listen(const std::string& host, uint16_t port);

  uint16_t port() const { return port_; }
  const std::string& address() const { return address_; }  // "127.0.0.1:7777", as bound
  int fd() const { return socket_.get(); }
  Result<std::unique_ptr<TcpStream>> accept(const Wait& wait);
  Status set_congestion(const std::string& name);  // of all that are accepted from now on

  // What one attempt without waiting came to.
  struct Accepted {
    std::unique_ptr<TcpStream> stream;  // null: nobody waits, or
    bool exhausted = false;             // no descriptor or memory is left for whoever does
  };
  Result<Accepted> try_accept();
  void close() { socket_ = FileDescriptor(); }

 private:
  explicit TcpListener(FileDescriptor socket) : socket_(std::move(socket)) {}
  FileDescriptor socket_;
  uint16_t port_ = 0;
  std::string address_;
};

// "host:port", with brackets where the host is an IPv6 address.
[[nodiscard]] std::string host_port(const std::string& host, uint16_t port);

// "192.0.2.1:443" or "[::1]:443" without its port and brackets.
[[nodiscard]] std::string_view host_of(std::string_view host_and_port);
// Whether that address can only be this machine: 127/8, ::1, also IPv4 inside IPv6.
[[nodiscard]] bool is_loopback_address(std::string_view host);
// What one peer can hold: an IPv4 address, the first 64 bits of an IPv6 one.
[[nodiscard]] std::string address_group(std::string_view host);

// The bytes of an address written in numbers (4 or 16 of them), or empty.
[[nodiscard]] std::string ip_bytes(const std::string& host);

}  // namespace splitd::net

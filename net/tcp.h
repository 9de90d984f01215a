// Owns: TCP. Connecting (names resolved off-thread so that the deadline holds, addresses raced as
// RFC 8305 says, IPv6 and IPv4), listening, and the socket as a Transport: non-blocking, no Nagle,
// keep-alive, no SIGPIPE. A name is at most kMaxHostBytes; "[::1]" is written "::1".
#pragma once

#include <cstdint>
#include <memory>
#include <string>

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

 private:
  TcpStream(FileDescriptor socket, std::string peer)
      : socket_(std::move(socket)), peer_(std::move(peer)) {}
  FileDescriptor socket_;
  std::string peer_;
};

[[nodiscard]] Result<std::unique_ptr<TcpStream>> tcp_connect(const std::string& host, uint16_t port,
                                                             const Wait& wait);

class TcpListener {
 public:
  // A numeric address or a name; port 0 lets the system choose.
  static Result<TcpListener> listen(const std::string& host, uint16_t port);

  uint16_t port() const { return port_; }
  int fd() const { return socket_.get(); }
  Result<std::unique_ptr<TcpStream>> accept(const Wait& wait);

 private:
  explicit TcpListener(FileDescriptor socket) : socket_(std::move(socket)) {}
  FileDescriptor socket_;
  uint16_t port_ = 0;
};

// "host:port", with brackets where the host is an IPv6 address.
[[nodiscard]] std::string host_port(const std::string& host, uint16_t port);

// The bytes of an address written in numbers (4 or 16 of them), or empty.
[[nodiscard]] std::string ip_bytes(const std::string& host);

}  // namespace splitd::net

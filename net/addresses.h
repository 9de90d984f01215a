// Owns: names to socket addresses. Private to TCP: nothing else includes a socket header.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "net/wait.h"

namespace splitd::net {

struct Address {
  sockaddr_storage bytes{};
  socklen_t length = 0;
  int family = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

// What the name stands for, in the order of RFC 6724 with the families interleaved (RFC 8305), at
// most kMaxAddresses; never empty. getaddrinfo() cannot be interrupted, so it runs on a thread that
// is left behind when `wait` ends first.
[[nodiscard]] Result<std::vector<Address>> resolve(const std::string& host, uint16_t port,
                                                   bool to_listen, const Wait& wait);

// "192.0.2.1:443", "[2001:db8::1]:443".
[[nodiscard]] std::string address_text(const Address& address);

}  // namespace splitd::net

// Owns: one TLS connection, of splitd's ends or to a server of the web, without a socket: bytes of
// the wire come from a buffer and go to one. Nothing is allocated per record. Refuses TLS
// below 1.2, suites without forward secrecy, and peers that prove nothing. A session belongs to one
// thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "net/buffer.h"
#include "net/tls_context.h"
#include "runtime/base/result.h"

namespace splitd::net {

class TlsSession {
 public:
  // `in` holds what came from the wire and is consumed; `out` takes what goes there. Both outlive
  // the session. `peer` is the client's name for the server, under which a session is kept for
  // resumption; `host`, its name in certificates.
  static Result<std::unique_ptr<TlsSession>> create(std::shared_ptr<TlsContext> context,
                                                    const std::string& host,
                                                    const std::string& peer, ByteBuffer& in,
                                                    ByteBuffer& out);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Goes as far as the bytes allow: whether it is done. After an error `out` may hold an alert.
  Result<bool> handshake();
  // Decrypted bytes; 0 when more is needed or the peer ended() in order.
  Result<size_t> read(std::span<std::byte> into);
  bool ended() const;
  bool has_unread() const;  // decrypted bytes that read() has not given out
  // All of it, at most one record's worth (16 KiB).
  Result<size_t> write(std::span<const std::byte> bytes);
  void say_goodbye();

  bool resumed() const;
  const std::string& identity() const;  // "psk:NAME", "cert:NAME"; of a server's client

 private:
  struct State;
  explicit TlsSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace splitd::net

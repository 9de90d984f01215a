// Owns: TLS over any Transport (mbedTLS inside, 2.28 or 3.x). TLS 1.2 or newer, forward secrecy and
// authenticated encryption only; the peer's certificate must lead to a trusted authority and name
// the host. There is no way to switch verification off. A TlsClient is thread-safe and shared by
// the connections of a process; a TlsStream belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "net/transport.h"

namespace splitd::net {

class TlsClient;

class TlsStream final : public Transport {
 public:
  ~TlsStream() override;  // says goodbye if that does not block

  // Until this succeeded nothing may be read or written.
  [[nodiscard]] Status handshake(const Wait& wait);
  // The handshake failed for what the peer is, not for what the network did: useless to repeat.
  bool refused() const;
  bool resumed() const;  // the handshake took up an earlier session

  Result<Io> try_read(std::span<std::byte> into) override;
  Result<Io> try_write(std::span<const std::byte> bytes) override;
  int fd() const override;
  const std::string& peer() const override;

 private:
  friend class TlsClient;
  struct State;
  explicit TlsStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct TlsClientOptions {
  std::string ca_file;  // PEM; empty: what $SSL_CERT_FILE names, else the system's
};

class TlsClient : public std::enable_shared_from_this<TlsClient> {
 public:
  // Reads the trusted authorities. An error names the file.
  static Result<std::shared_ptr<TlsClient>> create(const TlsClientOptions& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // `host` is what the certificate must name: a DNS name, or an address. Call handshake() next.
  Result<std::unique_ptr<TlsStream>> open(std::unique_ptr<Transport> below,
                                          const std::string& host);

 private:
  friend class TlsStream;
  struct Shared;
  explicit TlsClient(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace splitd::net

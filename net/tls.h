// Owns: TLS over any Transport, for HTTPS: a TlsSession and the bytes between it and the transport.
// TLS 1.2 or newer, forward secrecy and authenticated encryption only; the peer's certificate must
// lead to a trusted authority and name the host. There is no way to switch verification off. A
// TlsClient is thread-safe and shared by the connections of a process; a TlsStream belongs to one
// thread at a time.
#pragma once

#include <memory>
#include <string>

#include "net/buffer.h"
#include "net/tls_session.h"
#include "net/transport.h"

namespace splitd::net {

class TlsStream final : public Transport {
 public:
  ~TlsStream() override;  // says goodbye if that does not block

  // Until this succeeded nothing may be read or written.
  [[nodiscard]] Status handshake(const Wait& wait);
  // The handshake failed for what the peer is, not for what the network did: useless to repeat.
  bool refused() const { return refused_; }
  bool resumed() const { return session_->resumed(); }  // it took up an earlier session

  Result<Io> try_read(std::span<std::byte> into) override;
  Result<Io> try_write(std::span<const std::byte> bytes) override;
  int fd() const override { return below_->fd(); }
  const std::string& peer() const override { return below_->peer(); }

 private:
  friend class TlsClient;
  explicit TlsStream(std::unique_ptr<Transport> below) : below_(std::move(below)) {}
  Result<Io> flush();    // nothing wanted: all of `out_` is through
  Result<Io> receive();  // into `in_`

  std::unique_ptr<Transport> below_;
  ByteBuffer in_;   // from the wire
  ByteBuffer out_;  // to the wire
  std::unique_ptr<TlsSession> session_;
  size_t taken_ = 0;  // of the bytes to write: they are encrypted in `out_`
  bool established_ = false;
  bool refused_ = false;
};

struct TlsClientOptions {
  std::string ca_file;  // PEM; empty: what $SSL_CERT_FILE names, else the system's
};

class TlsClient {
 public:
  // Reads the trusted authorities. An error names the file.
  static Result<std::shared_ptr<TlsClient>> create(const TlsClientOptions& options);

  // `host` is what the certificate must name: a DNS name, or an address. Call handshake() next.
  Result<std::unique_ptr<TlsStream>> open(std::unique_ptr<Transport> below,
                                          const std::string& host);

 private:
  explicit TlsClient(std::shared_ptr<TlsContext> context) : context_(std::move(context)) {}
  std::shared_ptr<TlsContext> context_;
};

}  // namespace splitd::net

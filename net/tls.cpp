#include "net/tls.h"

#include <cstdlib>

#include "net/limits.h"
#include "runtime/base/files.h"

namespace splitd::net {

static Result<std::string> find_ca_file(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* name = std::getenv("SSL_CERT_FILE"); name != nullptr && *name != '\0') {
    return std::string(name);
  }
  // Debian and Alpine, Fedora, openSUSE, OpenSSL's own.
  static constexpr const char* kUsual[] = {"/etc/ssl/certs/ca-certificates.crt",
                                           "/etc/pki/tls/certs/ca-bundle.crt",
                                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
  for (const char* path : kUsual) {
    if (path_exists(path)) return std::string(path);
  }
  return failed(
      "no file of trusted certificate authorities: install ca-certificates, set SSL_CERT_FILE or "
      "give --ca");
}

Result<std::shared_ptr<TlsClient>> TlsClient::create(const TlsClientOptions& options) {
  SPLITD_ASSIGN(const std::string ca_file, find_ca_file(options.ca_file));
  SPLITD_ASSIGN(std::shared_ptr<TlsContext> context, TlsContext::web_client(ca_file));
  return std::shared_ptr<TlsClient>(new TlsClient(std::move(context)));
}

Result<std::unique_ptr<TlsStream>> TlsClient::open(std::unique_ptr<Transport> below,
                                                   const std::string& host) {
  std::unique_ptr<TlsStream> stream(new TlsStream(std::move(below)));
  // A session is taken up again only where the name that was verified is the same.
  SPLITD_ASSIGN(stream->session_,
                TlsSession::create(context_, host, host + " " + stream->below_->peer(), stream->in_,
                                   stream->out_));
  return stream;
}

TlsStream::~TlsStream() {
  if (!established_) return;
  session_->say_goodbye();
  (void)flush();
}

Result<Io> TlsStream::flush() {
  while (!out_.empty()) {
    SPLITD_ASSIGN(const Io io, below_->try_write(std::as_const(out_).bytes()));
    if (io.bytes == 0) return io;
    out_.consume(io.bytes);
  }
  return Io{};
}

Result<Io> TlsStream::receive() {
  SPLITD_ASSIGN(const Io io, below_->try_read(in_.prepare_read(limits::kReadBytes)));
  in_.commit(io.bytes);
  return io;
}

Status TlsStream::handshake(const Wait& wait) {
  const std::string what = "TLS handshake with " + peer();
  while (true) {
    if (wait.cancelled()) return interrupted(what);
    Result<bool> done = session_->handshake();
    // Also after an error: the peer is told why.
    for (Io io = {}; !out_.empty();) {
      SPLITD_ASSIGN(io, flush());
      if (!out_.empty()) SPLITD_TRY(wait_until(*this, io.want, wait, "TLS handshake with"));
    }
    if (!done.ok()) {
      refused_ = true;
      return std::move(done.take_error()).within(peer());
    }
    established_ = *done;
    if (established_) return {};
    SPLITD_ASSIGN(const Io io, receive());
    if (io.end) return peer_error(what + ": the connection ended");
    if (io.bytes == 0) SPLITD_TRY(wait_until(*this, io.want, wait, "TLS handshake with"));
  }
}

Result<Io> TlsStream::try_read(std::span<std::byte> into) {
  if (!established_) return failed("TLS: read before the handshake");
  while (true) {
    Result<size_t> count = session_->read(into);
    if (!count.ok()) return std::move(count.take_error()).within("reading from " + peer());
    if (*count > 0) return Io{*count, Want::nothing, false};
    // The socket may well stay open after a goodbye.
    if (session_->ended()) return Io{0, Want::nothing, true};
    SPLITD_ASSIGN(const Io io, receive());
    if (io.end) {
      return peer_error("reading from " + peer() + ": the connection ended without a TLS goodbye");
    }
    if (io.bytes == 0) return io;
  }
}

Result<Io> TlsStream::try_write(std::span<const std::byte> bytes) {
  if (!established_) return failed("TLS: write before the handshake");
  SPLITD_ASSIGN(Io io, flush());
  if (!out_.empty()) return io;
  if (taken_ == 0) {
    SPLITD_ASSIGN(taken_, session_->write(bytes));
    SPLITD_ASSIGN(io, flush());
    if (!out_.empty()) return io;
  }
  // Written is what the transport below has, so that nobody waits for a reply to half a request.
  return Io{std::exchange(taken_, 0), Want::nothing, false};
}

}  // namespace splitd::net

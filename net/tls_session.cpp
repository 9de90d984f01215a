#include "net/tls_session.h"

namespace splitd::net {
struct TlsSession::State {
  std::string none;
};
TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::~TlsSession() = default;
Result<std::unique_ptr<TlsSession>> TlsSession::create(std::shared_ptr<TlsContext>,
                                                       const std::string&, const std::string&,
                                                       ByteBuffer&, ByteBuffer&) {
  return failed("TLS is not built yet");
}
Result<bool> TlsSession::handshake() {
  return false;
}
Result<size_t> TlsSession::read(std::span<std::byte>) {
  return size_t{0};
}
bool TlsSession::ended() const {
  return false;
}
Result<size_t> TlsSession::write(std::span<const std::byte>) {
  return size_t{0};
}
bool TlsSession::has_unread() const {
  return false;
}
void TlsSession::say_goodbye() {}
bool TlsSession::resumed() const {
  return false;
}
const std::string& TlsSession::identity() const {
  return state_->none;
}
struct TlsContext::State {};
TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;
Result<std::shared_ptr<TlsContext>> TlsContext::server(const TlsOptions&) {
  return failed("TLS is not built yet");
}
Result<std::shared_ptr<TlsContext>> TlsContext::client(const TlsOptions&) {
  return failed("TLS is not built yet");
}
}  // namespace splitd::net

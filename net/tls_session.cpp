#include "net/tls_session.h"

#include <string.h>

#include <algorithm>

#include "net/tcp.h"
#include "net/text.h"
#include "net/tls_context_state.h"

namespace splitd::net {
namespace {

#if MBEDTLS_VERSION_MAJOR >= 3
constexpr int kNoCommonHandshake = MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE;
#else
constexpr int kNoCommonHandshake = MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN;
#endif

bool wants_more(int code) {
  return code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE;
}

bool is_tls13([[maybe_unused]] const mbedtls_ssl_context& ssl) {
#if defined(SPLITD_TLS13)
  return mbedtls_ssl_get_version_number(&ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
  return false;
#endif
}

bool is_new_ticket([[maybe_unused]] int code) {
#if defined(SPLITD_TLS13)
  return code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
  return false;
#endif
}

}  // namespace

struct TlsSession::State {
  State(std::shared_ptr<TlsContext> the_context, std::string the_host, std::string the_peer,
        ByteBuffer& the_in, ByteBuffer& the_out)
      : context(std::move(the_context)),
        host(std::move(the_host)),
        peer(std::move(the_peer)),
        in(the_in),
        out(the_out) {
    mbedtls_ssl_init(&ssl);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { mbedtls_ssl_free(&ssl); }

  static int send(void* self, const unsigned char* bytes, size_t count);
  static int receive(void* self, unsigned char* bytes, size_t count);
  static int verify(void* self, mbedtls_x509_crt* certificate, int depth, uint32_t* flags);

  void offer_session();
  void save_session();
  void take_ticket();
  Status finish_handshake();
  Error handshake_error(int code) const;
  Error read_error(int code) const;

  std::shared_ptr<TlsContext> context;
  std::string host;
  std::string peer;
  ByteBuffer& in;
  ByteBuffer& out;
  mbedtls_ssl_context ssl;
  PeerProof proof;
  bool offered = false;    // a client wants to take up a session again
  std::string offered_id;  // … and its id
  bool heard = false;      // something came after the handshake
  bool established = false;
  bool resumed = false;
  bool ended = false;
};

int TlsSession::State::send(void* self, const unsigned char* bytes, size_t count) {
  static_cast<State*>(self)->out.append(std::as_bytes(std::span(bytes, count)));
  return static_cast<int>(count);
}

int TlsSession::State::receive(void* self, unsigned char* bytes, size_t count) {
  ByteBuffer& in = static_cast<State*>(self)->in;
  if (in.empty()) return MBEDTLS_ERR_SSL_WANT_READ;
  const size_t taken = std::min(count, in.size());
  ::memcpy(bytes, in.bytes().data(), taken);
  in.consume(taken);
  return static_cast<int>(taken);
}

int TlsSession::State::verify(void* self, mbedtls_x509_crt* certificate, int depth,
                              uint32_t* flags) {
  auto& state = *static_cast<State*>(self);
  state.proof.saw_certificate = true;
  state.proof.recalled = false;
  const bool is_server = state.context->state().server;
  if (depth == 0 && !is_server && !certificate_names(*certificate, state.host)) {
    *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  }
  if (depth == 0 && is_server) {
    const std::string owner = certificate_owner(*certificate);
    if (owner.empty()) *flags |= MBEDTLS_X509_BADCERT_OTHER;  // nobody to count
    state.proof.identity = "cert:" + owner;
  }
  state.proof.refusal |= *flags;
  return 0;
}

TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::~TlsSession() = default;

Result<std::unique_ptr<TlsSession>> TlsSession::create(std::shared_ptr<TlsContext> context,
                                                       const std::string& host,
                                                       const std::string& peer, ByteBuffer& in,
                                                       ByteBuffer& out) {
  auto state = std::make_unique<State>(std::move(context), host, peer, in, out);
  TlsContext::State& shared = state->context->state();
  int code = mbedtls_ssl_setup(&state->ssl, &shared.config);
  if (code == 0 && !shared.server) {
    // Addresses have no place in SNI; and with a key nobody's certificate is looked at. The
    // library's own check of a DNS name stays on beside ours.
    const bool named = !shared.has_keys && ip_bytes(host).empty();
    code = mbedtls_ssl_set_hostname(&state->ssl, named ? host.c_str() : nullptr);
  }
  if (code != 0) return failed("cannot set up TLS: " + tls_text(code));
  mbedtls_ssl_set_verify(&state->ssl, State::verify, state.get());
  mbedtls_ssl_set_bio(&state->ssl, state.get(), State::send, State::receive, nullptr);
  if (!shared.server) state->offer_session();
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(state)));
}

void TlsSession::State::offer_session() {
  TlsContext::State& shared = context->state();
  const std::lock_guard lock(shared.mutex);
  mbedtls_ssl_session saved;
  mbedtls_ssl_session_init(&saved);
  if (shared.recall(peer, saved) != nullptr && mbedtls_ssl_set_session(&ssl, &saved) == 0) {
    offered = true;
    offered_id = tls_session_id(saved);
  }
  mbedtls_ssl_session_free(&saved);
}

// Of a verified server, with the lock held. In TLS 1.3 a session can be taken up again once the
// server has sent a ticket, in TLS 1.2 after the handshake.
void TlsSession::State::save_session() {
  TlsContext::State& shared = context->state();
  mbedtls_ssl_session session;
  mbedtls_ssl_session_init(&session);
  if (mbedtls_ssl_get_session(&ssl, &session) == 0) {
    // With keys nothing but the id tells; else a server that is believed without a certificate.
    if (!established) {
      const std::string id(tls_session_id(session));
      resumed =
          offered && (shared.has_keys ? !id.empty() && id == offered_id : !proof.saw_certificate);
    }
    // With keys a ticket saves nothing: TLS 1.3 agrees on new ones either way, and nobody signs.
    if (is_tls13(ssl) ? established && !shared.has_keys : !established) {
      shared.remember(peer, session, proof.identity);
    }
  }
  mbedtls_ssl_session_free(&session);
}

void TlsSession::State::take_ticket() {
  const std::lock_guard lock(context->state().mutex);
  save_session();
}

// With the lock held.
Status TlsSession::State::finish_handshake() {
  TlsContext::State& shared = context->state();
  if (shared.server) {
    // Without an identity nobody has proved anything: no suite allows that, so it cannot be.
    if (proof.identity.empty()) return peer_error("the TLS peer proved nothing");
    resumed = proof.recalled;
    established = true;
    return {};
  }
  if (!shared.has_keys && mbedtls_ssl_get_verify_result(&ssl) != 0) {
    return peer_error("the TLS peer's certificate was not verified");  // as above
  }
  save_session();
  established = true;
  return {};
}

Error TlsSession::State::handshake_error(int code) const {
  const TlsContext::State& shared = context->state();
  const std::string what = "TLS handshake: ";
  if (proof.refusal != 0) {
    return peer_error(what + "the peer's certificate is refused: " + refusal_text(proof.refusal));
  }
  // TLS 1.3: a server that takes certificates only answers with one, which the library refuses.
  const bool refused = code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE || code == kNoCommonHandshake;
  if (refused && shared.web) {
    return peer_error(what + tls_text(code) + " (offered: " + std::string(kTlsOffer) + ")");
  }
  if (refused && !shared.server && shared.has_keys) {
    return peer_error(what + "the peer refuses the identity " + quoted(shared.keys[0].identity) +
                      ": it has another key for it, or none, or takes certificates only");
  }
  if (refused && !shared.server) {
    return peer_error(what + "the peer refuses this end's certificate, or takes keys only");
  }
  // What a key that does not fit is called in TLS 1.2 and in 1.3.
  if (proof.asked_for_key && (code == MBEDTLS_ERR_SSL_INVALID_MAC || code == kNoCommonHandshake)) {
    return peer_error(what + (proof.identity.empty() ? std::string("an unknown identity")
                                                     : "a wrong key for " + proof.identity));
  }
  return peer_error(what + tls_text(code));
}

Result<bool> TlsSession::handshake() {
  State& state = *state_;
  if (state.established) return true;
  TlsContext::State& shared = state.context->state();
  const std::lock_guard lock(shared.mutex);
  shared.handshaking = &state.proof;
  const int code = mbedtls_ssl_handshake(&state.ssl);
  shared.handshaking = nullptr;
  if (wants_more(code)) return false;
  if (code != 0) return state.handshake_error(code);
  SPLITD_TRY(state.finish_handshake());
  return true;
}

// In TLS 1.3 a client is through before the server has looked at what it proved: a refusal is what
// the server says first. mbedTLS encrypts that alert with the handshake's keys, which its own
// client no longer has.
Error TlsSession::State::read_error(int code) const {
  const bool refusal =
      code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE || code == MBEDTLS_ERR_SSL_INVALID_MAC;
  if (refusal && !heard && !context->state().server && is_tls13(ssl)) {
    return handshake_error(MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
  }
  return peer_error("TLS: " + tls_text(code));
}

Result<size_t> TlsSession::read(std::span<std::byte> into) {
  State& state = *state_;
  while (!state.ended) {
    const size_t before = state.in.size();
    const int code =
        mbedtls_ssl_read(&state.ssl, reinterpret_cast<unsigned char*>(into.data()), into.size());
    if (wants_more(code)) {
      if (state.in.size() == before) break;
      continue;  // a ticket was read, and is looked at by the next call
    }
    if (code < 0 && code != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY && !is_new_ticket(code)) {
      return state.read_error(code);
    }
    state.heard = true;
    if (code > 0) return static_cast<size_t>(code);
    if (is_new_ticket(code)) {
      state.take_ticket();
    } else {
      state.ended = true;
    }
  }
  return size_t{0};
}

bool TlsSession::ended() const {
  return state_->ended;
}

bool TlsSession::has_unread() const {
  return state_->established && mbedtls_ssl_get_bytes_avail(&state_->ssl) > 0;
}

Result<size_t> TlsSession::write(std::span<const std::byte> bytes) {
  while (true) {
    const int code = mbedtls_ssl_write(
        &state_->ssl, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    if (code >= 0) return static_cast<size_t>(code);
    if (!is_new_ticket(code)) return peer_error("TLS: " + tls_text(code));
    state_->take_ticket();
  }
}

void TlsSession::say_goodbye() {
  if (state_->established) (void)mbedtls_ssl_close_notify(&state_->ssl);
}

bool TlsSession::resumed() const {
  return state_->resumed;
}
const std::string& TlsSession::identity() const {
  return state_->proof.identity;
}

}  // namespace splitd::net

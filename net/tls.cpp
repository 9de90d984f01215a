// mbedTLS behind the seam. 2.28 is what Debian 12 has; where 3.x differs, MBEDTLS_VERSION_MAJOR
// decides.
#include "net/tls.h"

#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>

#include "net/limits.h"
#include "net/tcp.h"
#include "net/text.h"
#include "net/tls_mbed.h"

namespace splitd::net {
namespace {

#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
constexpr std::string_view kOffer = "TLS 1.2 and 1.3 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#else
constexpr std::string_view kOffer = "TLS 1.2 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#endif

Result<std::string> find_ca_file(const std::string& given) {
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

}  // namespace

struct TlsClient::Shared {
  struct Saved {
    std::string host_and_peer;
    mbedtls_ssl_session session;
    Saved() { mbedtls_ssl_session_init(&session); }
    Saved(const Saved&) = delete;
    Saved& operator=(const Saved&) = delete;
    ~Saved() { mbedtls_ssl_session_free(&session); }
  };

  Shared() {
    mbedtls_x509_crt_init(&authorities);
    mbedtls_ssl_config_init(&config);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    sessions.clear();
    mbedtls_ssl_config_free(&config);
    mbedtls_x509_crt_free(&authorities);
  }

  Status load(const std::string& ca_file);
  Status configure();

  TlsRandom random;
  mbedtls_x509_crt authorities;
  mbedtls_ssl_config config;
  // Handshakes compute one at a time (waiting is outside): mbedTLS 2.28 caches tables inside the
  // authority's key while it verifies. Guards `authorities` and `sessions` after creation.
  std::mutex mutex;
  std::list<Saved> sessions;  // newest first
};

Status TlsClient::Shared::load(const std::string& ca_file) {
  return load_certificates(authorities, ca_file);
}

Status TlsClient::Shared::configure() {
  SPLITD_TRY(random.seed());
  SPLITD_TRY(configure_tls(config, MBEDTLS_SSL_IS_CLIENT, random));
  mbedtls_ssl_conf_ciphersuites(&config, kCertificateSuites);
  mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_ca_chain(&config, &authorities, nullptr);
  return {};
}

struct TlsStream::State {
  State() { mbedtls_ssl_init(&ssl); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { mbedtls_ssl_free(&ssl); }

  static int send(void* self, const unsigned char* bytes, size_t count);
  static int receive(void* self, unsigned char* bytes, size_t count);
  static int verify(void* self, mbedtls_x509_crt* certificate, int depth, uint32_t* flags);

  Error fail(std::string_view doing, int code);
  std::string session_key() const { return host + " " + below->peer(); }
  void offer_session();
  void save_session();

  std::shared_ptr<TlsClient> client;
  std::unique_ptr<Transport> below;
  std::string host;
  mbedtls_ssl_context ssl;
  Status below_failed;  // what the transport below said last, when it failed
  bool below_ended = false;
  bool ended = false;  // the peer said goodbye
  bool established = false;
  bool refused = false;
  bool resumed = false;
  uint32_t refusal = 0;  // flags of all certificates in the chain
  bool offered_session = false;
  bool saw_certificate = false;
};

int TlsStream::State::send(void* self, const unsigned char* bytes, size_t count) {
  auto& state = *static_cast<State*>(self);
  Result<Io> io = state.below->try_write(std::as_bytes(std::span(bytes, count)));
  if (!io) {
    state.below_failed = io.take_error();
    return MBEDTLS_ERR_NET_SEND_FAILED;
  }
  return io->bytes > 0 ? static_cast<int>(io->bytes) : MBEDTLS_ERR_SSL_WANT_WRITE;
}

int TlsStream::State::receive(void* self, unsigned char* bytes, size_t count) {
  auto& state = *static_cast<State*>(self);
  Result<Io> io = state.below->try_read(std::as_writable_bytes(std::span(bytes, count)));
  if (!io) {
    state.below_failed = io.take_error();
    return MBEDTLS_ERR_NET_RECV_FAILED;
  }
  state.below_ended = io->end;
  if (io->end) return 0;
  return io->bytes > 0 ? static_cast<int>(io->bytes) : MBEDTLS_ERR_SSL_WANT_READ;
}

int TlsStream::State::verify(void* self, mbedtls_x509_crt* certificate, int depth,
                             uint32_t* flags) {
  auto& state = *static_cast<State*>(self);
  state.saw_certificate = true;
  if (depth == 0 && !certificate_names(*certificate, state.host)) {
    *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  }
  state.refusal |= *flags;
  return 0;
}

Error TlsStream::State::fail(std::string_view doing, int code) {
  if (!below_failed.ok()) return below_failed.error();
  const std::string what = std::string(doing) + " " + below->peer();
  if (below_ended) return peer_error(what + ": the connection ended without a TLS goodbye");
  return peer_error(what + ": " + tls_text(code));
}

void TlsStream::State::offer_session() {
  const std::lock_guard lock(client->shared_->mutex);
  for (const TlsClient::Shared::Saved& saved : client->shared_->sessions) {
    if (saved.host_and_peer != session_key()) continue;
    offered_session = mbedtls_ssl_set_session(&ssl, &saved.session) == 0;
    return;
  }
}

// With the lock held. Only sessions of verified peers come here.
void TlsStream::State::save_session() {
  std::list<TlsClient::Shared::Saved>& sessions = client->shared_->sessions;
  const std::string key = session_key();
  sessions.remove_if([&](const auto& saved) { return saved.host_and_peer == key; });
  TlsClient::Shared::Saved& saved = sessions.emplace_front();
  saved.host_and_peer = key;
  if (mbedtls_ssl_get_session(&ssl, &saved.session) != 0) sessions.pop_front();
  if (sessions.size() > limits::kMaxTlsSessions) sessions.pop_back();
}

TlsStream::TlsStream(std::unique_ptr<State> state) : state_(std::move(state)) {}

TlsStream::~TlsStream() {
  if (state_->established) (void)mbedtls_ssl_close_notify(&state_->ssl);
}

bool TlsStream::refused() const {
  return state_->refused;
}
bool TlsStream::resumed() const {
  return state_->resumed;
}
int TlsStream::fd() const {
  return state_->below->fd();
}
const std::string& TlsStream::peer() const {
  return state_->below->peer();
}

Status TlsStream::handshake(const Wait& wait) {
  State& state = *state_;
  while (true) {
    if (wait.cancelled()) return interrupted("TLS handshake with " + peer());
    int code = 0;
    {
      const std::lock_guard lock(state.client->shared_->mutex);
      code = mbedtls_ssl_handshake(&state.ssl);
      if (code == 0 && mbedtls_ssl_get_verify_result(&state.ssl) == 0) state.save_session();
    }
    if (code == 0) break;
    if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE) {
      const Want want = code == MBEDTLS_ERR_SSL_WANT_READ ? Want::readable : Want::writable;
      SPLITD_TRY(wait_until(*this, want, wait, "TLS handshake with"));
      continue;
    }
    if (state.refusal != 0) {
      state.refused = true;
      return peer_error("the certificate of " + state.host +
                        " is refused: " + refusal_text(state.refusal));
    }
    // A plain network failure may pass; a peer that speaks no TLS that we accept will not.
    state.refused = state.below_failed.ok() && !state.below_ended;
    Error error = state.fail("TLS handshake with", code);
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
      error.message += " (offered: " + std::string(kOffer) + ")";
    }
    return error;
  }
  if (const uint32_t flags = mbedtls_ssl_get_verify_result(&state.ssl); flags != 0) {
    state.refused = true;
    return peer_error("the certificate of " + state.host + " is refused: " + refusal_text(flags));
  }
  state.resumed = state.offered_session && !state.saw_certificate;
  state.established = true;
  return {};
}

Result<Io> TlsStream::try_read(std::span<std::byte> into) {
  State& state = *state_;
  if (!state.established) return failed("TLS: read before the handshake");
  while (true) {
    // The library would wait for more after a goodbye: the socket may well stay open.
    if (state.ended) return Io{0, Want::nothing, true};
    const int code =
        mbedtls_ssl_read(&state.ssl, reinterpret_cast<unsigned char*>(into.data()), into.size());
    if (code > 0) return Io{static_cast<size_t>(code), Want::nothing, false};
    state.ended = code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
    if (state.ended) continue;
    if (code == MBEDTLS_ERR_SSL_WANT_READ) return Io{0, Want::readable, false};
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE) return Io{0, Want::writable, false};
#if defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
    if (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {  // TLS 1.3: news, no error
      const std::lock_guard lock(state.client->shared_->mutex);
      state.save_session();
      continue;
    }
#endif
    return state.fail("reading from", code);
  }
}

Result<Io> TlsStream::try_write(std::span<const std::byte> bytes) {
  State& state = *state_;
  if (!state.established) return failed("TLS: write before the handshake");
  const int code = mbedtls_ssl_write(
      &state.ssl, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  if (code >= 0) return Io{static_cast<size_t>(code), Want::nothing, false};
  if (code == MBEDTLS_ERR_SSL_WANT_READ) return Io{0, Want::readable, false};
  if (code == MBEDTLS_ERR_SSL_WANT_WRITE) return Io{0, Want::writable, false};
  return state.fail("writing to", code);
}

TlsClient::TlsClient(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}
TlsClient::~TlsClient() = default;

Result<std::shared_ptr<TlsClient>> TlsClient::create(const TlsClientOptions& options) {
  auto shared = std::make_unique<Shared>();
  SPLITD_ASSIGN(const std::string ca_file, find_ca_file(options.ca_file));
  SPLITD_TRY(shared->configure());
  SPLITD_TRY(shared->load(ca_file));
  return std::shared_ptr<TlsClient>(new TlsClient(std::move(shared)));
}

Result<std::unique_ptr<TlsStream>> TlsClient::open(std::unique_ptr<Transport> below,
                                                   const std::string& host) {
  auto state = std::make_unique<TlsStream::State>();
  state->client = shared_from_this();
  state->below = std::move(below);
  state->host = host;
  int code = mbedtls_ssl_setup(&state->ssl, &shared_->config);
  // Addresses have no place in SNI. The library's own check of a DNS name stays on beside ours.
  const char* name = ip_bytes(host).empty() ? host.c_str() : nullptr;
  if (code == 0) code = mbedtls_ssl_set_hostname(&state->ssl, name);
  if (code != 0) return failed("cannot set up TLS for " + host + ": " + tls_text(code));
  mbedtls_ssl_set_verify(&state->ssl, TlsStream::State::verify, state.get());
  mbedtls_ssl_set_bio(&state->ssl, state.get(), TlsStream::State::send, TlsStream::State::receive,
                      nullptr);
  state->offer_session();
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(state)));
}

}  // namespace splitd::net

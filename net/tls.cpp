// mbedTLS behind the seam. 2.28 is what Debian 12 has; where 3.x differs, MBEDTLS_VERSION_MAJOR
// decides.
#include "net/tls.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>

#include "net/limits.h"
#include "net/tcp.h"
#include "net/text.h"
#include "net/tls_names.h"

namespace splitd::net {
namespace {

// Forward secrecy and authenticated encryption. ChaCha20 first: mbedTLS's GCM is slower even with
// AES instructions (0.30 against 0.49 GB/s on a Xeon), and far slower without them.
const int kSuites[] = {
#if MBEDTLS_VERSION_MAJOR >= 3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0};

#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
constexpr std::string_view kOffer = "TLS 1.2 and 1.3 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#else
constexpr std::string_view kOffer = "TLS 1.2 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#endif

std::string tls_text(int code) {
  char text[128];
  mbedtls_strerror(code, text, sizeof text);
  return text;
}

// "unknown authority, expired": the reasons, one line.
std::string refusal_text(uint32_t flags) {
  struct Reason {
    uint32_t flag;
    const char* text;
  };
  static constexpr Reason kReasons[] = {
      {MBEDTLS_X509_BADCERT_EXPIRED, "it has expired"},
      {MBEDTLS_X509_BADCERT_FUTURE, "it is not valid yet (is this machine's clock right?)"},
      {MBEDTLS_X509_BADCERT_CN_MISMATCH, "it is for another host"},
      {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "its authority is not trusted"},
      {MBEDTLS_X509_BADCERT_REVOKED, "it was revoked"},
      {MBEDTLS_X509_BADCERT_BAD_MD, "its signature algorithm is too weak"},
      {MBEDTLS_X509_BADCERT_BAD_PK, "its kind of key is not accepted"},
      {MBEDTLS_X509_BADCERT_BAD_KEY, "its key is too short"},
      {MBEDTLS_X509_BADCERT_MISSING, "there is none"},
      {MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE |
           MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
       "it was not made for servers"},
  };
  std::string out;
  for (const Reason& reason : kReasons) {
    if ((flags & reason.flag) == 0) continue;
    if (!out.empty()) out += ", ";
    out += reason.text;
  }
  return out.empty() ? "it was refused" : out;
}

bool certificate_names(const mbedtls_x509_crt& certificate, const std::string& host) {
  const std::string address = ip_bytes(host);
  const std::string_view name =
      host.ends_with('.') ? std::string_view(host).substr(0, host.size() - 1) : host;
  for (const mbedtls_x509_sequence* item = &certificate.subject_alt_names;
       item != nullptr && item->buf.p != nullptr; item = item->next) {
    const int kind = item->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
    const std::string_view value(reinterpret_cast<const char*>(item->buf.p), item->buf.len);
    if (kind == MBEDTLS_X509_SAN_IP_ADDRESS && !address.empty() && value == address) return true;
    if (kind == MBEDTLS_X509_SAN_DNS_NAME && address.empty() && dns_name_covers(value, name)) {
      return true;
    }
  }
  return false;
}

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
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&authorities);
    mbedtls_ssl_config_init(&config);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    sessions.clear();
    mbedtls_ssl_config_free(&config);
    mbedtls_x509_crt_free(&authorities);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
  }

  Status load(const std::string& ca_file);
  Status configure();

  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;  // locks by itself
  mbedtls_x509_crt authorities;
  mbedtls_ssl_config config;
  // Handshakes compute one at a time (waiting is outside): mbedTLS 2.28 caches tables inside the
  // authority's key while it verifies. Guards `authorities` and `sessions` after creation.
  std::mutex mutex;
  std::list<Saved> sessions;  // newest first
};

Status TlsClient::Shared::load(const std::string& ca_file) {
  SPLITD_ASSIGN(std::string pem, read_file(ca_file, limits::kMaxCaFileBytes));
  // With its final NUL, which is how mbedTLS tells PEM from DER. Positive: that many did not parse
  // (odd curves, old formats), which leaves the others as good as they were.
  const int code = mbedtls_x509_crt_parse(
      &authorities, reinterpret_cast<const unsigned char*>(pem.c_str()), pem.size() + 1);
  if (code < 0 || authorities.version == 0) {
    return failed(ca_file + ": no usable certificate" + (code < 0 ? ": " + tls_text(code) : ""));
  }
  return {};
}

Status TlsClient::Shared::configure() {
#if defined(MBEDTLS_PSA_CRYPTO_C) && MBEDTLS_VERSION_MAJOR >= 3
  if (psa_crypto_init() != PSA_SUCCESS) return failed("cannot start the crypto library");
#endif
  int code = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0);
  if (code == 0) {
    code = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                       MBEDTLS_SSL_PRESET_DEFAULT);
  }
  if (code != 0) return failed("cannot set up TLS: " + tls_text(code));
#if MBEDTLS_VERSION_MAJOR >= 3
  mbedtls_ssl_conf_min_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
#else
  mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
  mbedtls_ssl_conf_ciphersuites(&config, kSuites);
  mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_ca_chain(&config, &authorities, nullptr);
  mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
#if defined(MBEDTLS_SSL_RENEGOTIATION)
  mbedtls_ssl_conf_renegotiation(&config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
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

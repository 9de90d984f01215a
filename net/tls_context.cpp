#include "net/tls_context.h"

#include <algorithm>

#include "net/limits.h"
#include "net/tls_context_state.h"

namespace splitd::net {
namespace {

// The server's store, as mbedTLS asks for it. Only called inside a handshake, with the mutex held.
int recall_session(TlsContext::State& state, std::string_view id, mbedtls_ssl_session* into) {
  const TlsContext::State::Saved* const saved = state.recall(id, *into);
  if (saved == nullptr) return 1;
  if (state.handshaking != nullptr) {
    state.handshaking->identity = saved->identity;
    state.handshaking->recalled = true;
  }
  return 0;
}

int store_session(TlsContext::State& state, std::string_view id,
                  const mbedtls_ssl_session* session) {
  if (state.handshaking == nullptr || id.empty()) return 1;
  state.remember(std::string(id), *session, state.handshaking->identity);
  return 0;
}

#if MBEDTLS_VERSION_MAJOR >= 3
int get_session(void* self, const unsigned char* id, size_t length, mbedtls_ssl_session* into) {
  return recall_session(*static_cast<TlsContext::State*>(self),
                        {reinterpret_cast<const char*>(id), length}, into);
}
int set_session(void* self, const unsigned char* id, size_t length,
                const mbedtls_ssl_session* session) {
  return store_session(*static_cast<TlsContext::State*>(self),
                       {reinterpret_cast<const char*>(id), length}, session);
}
#else
int get_session(void* self, mbedtls_ssl_session* into) {
  const std::string id(tls_session_id(*into));
  return recall_session(*static_cast<TlsContext::State*>(self), id, into);
}
int set_session(void* self, const mbedtls_ssl_session* session) {
  return store_session(*static_cast<TlsContext::State*>(self), tls_session_id(*session), session);
}
#endif

#if defined(SPLITD_TLS13)
// A ticket is a name: the session itself stays here, as with ids. Unlike an identity it begins with
// a zero; the rest is random.
constexpr size_t kTicketBytes = 33;

int write_ticket(void* self, const mbedtls_ssl_session* session, unsigned char* start,
                 const unsigned char* end, size_t* length, uint32_t* seconds) {
  auto& state = *static_cast<TlsContext::State*>(self);
  if (static_cast<size_t>(end - start) < kTicketBytes) return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
  if (const int code = mbedtls_ctr_drbg_random(state.random.context(), start, kTicketBytes)) {
    return code;
  }
  start[0] = 0;
  *length = kTicketBytes;
  *seconds = static_cast<uint32_t>(limits::kTlsSessionLife / std::chrono::seconds(1));
  store_session(state, {reinterpret_cast<const char*>(start), kTicketBytes}, session);
  return 0;
}

int parse_ticket(void* self, mbedtls_ssl_session* into, unsigned char* ticket, size_t length) {
  auto& state = *static_cast<TlsContext::State*>(self);
  const std::string_view name(reinterpret_cast<const char*>(ticket), length);
  // To mbedTLS: no ticket of this server.
  return recall_session(state, name, into) == 0 ? 0 : MBEDTLS_ERR_SSL_INVALID_MAC;
}
#endif

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

TlsContext::State::State() {
  mbedtls_ssl_config_init(&config);
  mbedtls_x509_crt_init(&certificate);
  mbedtls_x509_crt_init(&authorities);
  mbedtls_pk_init(&key);
}

TlsContext::State::~State() {
  mbedtls_ssl_config_free(&config);  // wipes the client's key
  mbedtls_pk_free(&key);
  mbedtls_x509_crt_free(&authorities);
  mbedtls_x509_crt_free(&certificate);
}

// --- Sessions

void TlsContext::State::remember(std::string id, const mbedtls_ssl_session& session,
                                 const std::string& identity) {
  sessions.remove_if([&](const Saved& saved) { return saved.key == id; });
  size_t length = 0;
  (void)mbedtls_ssl_session_save(&session, nullptr, 0, &length);
  std::string bytes(length, '\0');
  if (mbedtls_ssl_session_save(&session, reinterpret_cast<unsigned char*>(bytes.data()),
                               bytes.size(), &length) != 0) {
    return;
  }
  sessions.push_front({std::move(id), identity, Secret(std::move(bytes)), Clock::now()});
  const size_t most = server ? limits::kMaxServerTlsSessions : limits::kMaxTlsSessions;
  if (sessions.size() > most) sessions.pop_back();
}

const TlsContext::State::Saved* TlsContext::State::recall(std::string_view id,
                                                          mbedtls_ssl_session& into) {
  const Clock::time_point oldest = Clock::now() - limits::kTlsSessionLife;
  while (!sessions.empty() && sessions.back().at < oldest) sessions.pop_back();
  for (const Saved& saved : sessions) {
    if (saved.key != id) continue;
    const std::string_view bytes = saved.session.reveal();
    return mbedtls_ssl_session_load(&into, bytes_of(bytes), bytes.size()) == 0 ? &saved : nullptr;
  }
  return nullptr;
}

// --- Keys and certificates

int TlsContext::State::find_key(void* self, mbedtls_ssl_context* ssl, const unsigned char* identity,
                                size_t length) {
  const State& state = *static_cast<State*>(self);
  const std::string_view name(reinterpret_cast<const char*>(identity), length);
  if (name.starts_with('\0')) return 1;  // a ticket that is forgotten: its owner has other proof
  // An unknown name is not refused here: who asks learns nothing that a wrong key would not say.
  std::string_view key = state.decoy.reveal();
  state.handshaking->identity.clear();
  state.handshaking->recalled = false;
  state.handshaking->asked_for_key = true;
  for (const PskEntry& entry : state.keys) {
    if (entry.identity != name) continue;
    key = entry.key.reveal();
    state.handshaking->identity = "psk:" + entry.identity;
  }
  return mbedtls_ssl_set_hs_psk(ssl, bytes_of(key), key.size());
}

Status TlsContext::State::load_keys(const TlsOptions& options) {
  SPLITD_ASSIGN(keys, load_psk_file(options.psk_file));
  has_keys = true;
  if (server) {
    std::string fake(kPskBytes, '\0');
    if (mbedtls_ctr_drbg_random(random.context(), reinterpret_cast<unsigned char*>(fake.data()),
                                fake.size()) != 0) {
      return failed("the random source failed");
    }
    decoy = Secret(std::move(fake));
    mbedtls_ssl_conf_psk_cb(&config, &State::find_key, this);
    return {};
  }
  if (keys.size() != 1) {
    return failed(options.psk_file + ": " + std::to_string(keys.size()) +
                  " keys; the connecting end has exactly one");
  }
  const std::string_view secret = keys[0].key.reveal();
  const std::string& name = keys[0].identity;
  const int code =
      mbedtls_ssl_conf_psk(&config, bytes_of(secret), secret.size(), bytes_of(name), name.size());
  keys[0].key = Secret();  // the configuration has its own copy, which it wipes
  if (code != 0) return failed("cannot use the key of " + name + ": " + tls_text(code));
  return {};
}

Status TlsContext::State::load_certificate(const TlsOptions& options) {
  SPLITD_TRY(load_certificates(certificate, options.cert_file));
  SPLITD_TRY(load_certificates(authorities, options.ca_file));
  SPLITD_ASSIGN(const Secret pem, read_secret_file(options.key_file, limits::kMaxKeyFileBytes));
  // mbedTLS wants the final NUL with PEM; a Secret's text has one behind it, as any std::string.
  const auto* bytes = bytes_of(pem.reveal());
#if MBEDTLS_VERSION_MAJOR >= 3
  int code = mbedtls_pk_parse_key(&key, bytes, pem.reveal().size() + 1, nullptr, 0,
                                  mbedtls_ctr_drbg_random, random.context());
  if (code == 0) {
    code = mbedtls_pk_check_pair(&certificate.pk, &key, mbedtls_ctr_drbg_random, random.context());
  }
#else
  int code = mbedtls_pk_parse_key(&key, bytes, pem.reveal().size() + 1, nullptr, 0);
  if (code == 0) code = mbedtls_pk_check_pair(&certificate.pk, &key);
#endif
  if (code != 0) {
    return failed(options.key_file + ": not the key of " + options.cert_file + ": " +
                  tls_text(code));
  }
  code = mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
  if (code != 0) return failed(options.cert_file + ": " + tls_text(code));
  mbedtls_ssl_conf_ca_chain(&config, &authorities, nullptr);
  has_certificate = true;
  return {};
}

Status TlsContext::State::configure() {
  SPLITD_TRY(random.seed());
  SPLITD_TRY(configure_tls(config, server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT, random));
  // A server demands a certificate wherever the suite has one.
  mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
  if (server) mbedtls_ssl_conf_session_cache(&config, this, get_session, set_session);
#if defined(SPLITD_TLS13)
  if (server) {
    mbedtls_ssl_conf_session_tickets_cb(&config, write_ticket, parse_ticket, this);
  } else {
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        &config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
  }
#endif
  // Between splitd's ends TLS 1.2 has ids.
  if (!server && !web) {
    mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
  }
  return {};
}

Status TlsContext::State::load(const TlsOptions& options, bool is_server) {
  server = is_server;
  const int parts = (options.cert_file.empty() ? 0 : 1) + (options.key_file.empty() ? 0 : 1) +
                    (options.ca_file.empty() ? 0 : 1);
  if (parts != 0 && parts != 3) {
    return usage_error(
        "a certificate, its key and the authority belong together: --cert, --key "
        "and --ca");
  }
  if (parts == 0 && options.psk_file.empty()) {
    return usage_error("TLS needs --psk-file, or --cert, --key and --ca");
  }
  if (!server && parts == 3 && !options.psk_file.empty()) {
    return usage_error("the connecting end proves itself with --psk-file or with --cert, not both");
  }
  SPLITD_TRY(configure());
  if (!options.psk_file.empty()) SPLITD_TRY(load_keys(options));
  if (parts == 3) SPLITD_TRY(load_certificate(options));
  mbedtls_ssl_conf_ciphersuites(&config, !has_keys          ? kCertificateSuites
                                         : !has_certificate ? kPskSuites
                                                            : kAllSuites);
#if defined(SPLITD_TLS13)
  // Certificates with tickets: the first handshake has no key, those that take it up again have.
  mbedtls_ssl_conf_tls13_key_exchange_modes(
      &config, has_certificate ? MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL
                               : MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
#endif
  return {};
}

Status TlsContext::State::load_web(const std::string& ca_file) {
  web = true;
  SPLITD_TRY(configure());
  mbedtls_ssl_conf_ciphersuites(&config, kCertificateSuites);
#if defined(SPLITD_TLS13)
  mbedtls_ssl_conf_tls13_key_exchange_modes(&config,
                                            MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
#endif
  SPLITD_TRY(load_certificates(authorities, ca_file));
  mbedtls_ssl_conf_ca_chain(&config, &authorities, nullptr);
  return {};
}

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

bool TlsContext::has_tls13() {
#if defined(SPLITD_TLS13)
  return true;
#else
  return false;
#endif
}

Result<std::shared_ptr<TlsContext>> TlsContext::server(const TlsOptions& options) {
  auto state = std::make_unique<State>();
  SPLITD_TRY(state->load(options, true));
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(state)));
}

Result<std::shared_ptr<TlsContext>> TlsContext::client(const TlsOptions& options) {
  auto state = std::make_unique<State>();
  SPLITD_TRY(state->load(options, false));
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(state)));
}

Result<std::shared_ptr<TlsContext>> TlsContext::web_client(const std::string& ca_file) {
  auto state = std::make_unique<State>();
  SPLITD_TRY(state->load_web(ca_file));
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(state)));
}

}  // namespace splitd::net

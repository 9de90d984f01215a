// Owns: the inside of a TlsContext: mbedTLS's configuration, credentials, and the sessions that can
// be taken up again. Private to tls_context.cpp and tls_session.cpp.
#pragma once

#include <list>
#include <mutex>
#include <string>
#include <vector>

#include "net/psk_file.h"
#include "net/tls_context.h"
#include "net/tls_mbed.h"
#include "net/wait.h"

namespace splitd::net {

// What one handshake learned of the other side.
struct PeerProof {
  std::string identity;  // "psk:NAME", "cert:NAME"
  uint32_t refusal = 0;  // flags of all certificates in the chain
  bool saw_certificate = false;
  bool asked_for_key = false;  // server: for that of the identity, or of nobody that it knows
  bool recalled = false;       // server: from a session that it had saved
};

struct TlsContext::State {
  // A session that a server can resume by its id, or a client with its peer.
  struct Saved {
    std::string key;  // server: the session id; client: the peer's address
    std::string identity;
    Secret session;  // serialised; holds the master secret
    Clock::time_point at;
  };

  State();
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Status load(const TlsOptions& options, bool is_server);
  Status load_web(const std::string& ca_file);
  Status load_keys(const TlsOptions& options);
  Status load_certificate(const TlsOptions& options);
  Status configure();
  void remember(std::string key, const mbedtls_ssl_session& session, const std::string& identity);
  // Fills `into`; nothing where there is none, or it is too old.
  const Saved* recall(std::string_view key, mbedtls_ssl_session& into);

  static int find_key(void* self, mbedtls_ssl_context* ssl, const unsigned char* identity,
                      size_t length);

  bool server = false;
  bool web = false;  // a client that proves nothing
  bool has_keys = false;
  bool has_certificate = false;
  TlsRandom random;
  mbedtls_ssl_config config;
  mbedtls_x509_crt certificate;
  mbedtls_x509_crt authorities;
  mbedtls_pk_context key;
  std::vector<PskEntry> keys;
  Secret decoy;  // what an unknown identity is answered with, so that it looks like a wrong key

  // Handshakes compute one at a time: mbedTLS 2.28 caches tables inside keys while it uses them.
  // Guards what follows, and `certificate`, `authorities` and `key` after creation.
  std::mutex mutex;
  PeerProof* handshaking = nullptr;  // whose handshake computes now
  std::list<Saved> sessions;         // newest first
};

}  // namespace splitd::net

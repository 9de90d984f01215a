// Owns: what one end of a TLS connection proves itself with and whom it believes: pre-shared keys
// (ECDHE-PSK), a certificate and the authority of the other side's (mutual X.509), or only the
// authorities of the web's servers; and the sessions that can be resumed. mbedTLS stays inside. Key
// files that others can read are refused; keys are wiped. Thread-safe once created; shared by the
// connections of a process.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/result.h"

namespace splitd::net {

// Either psk_file, or all three of cert_file, key_file and ca_file; a server may have both.
struct TlsOptions {
  std::string psk_file = {};   // "identity hex64" a line; a client's has exactly one
  std::string cert_file = {};  // PEM, with the chain
  std::string key_file = {};   // PEM, not encrypted
  std::string ca_file = {};    // PEM: who signs the other side's certificates

  bool any() const { return !(psk_file + cert_file + key_file + ca_file).empty(); }
};

class TlsContext {
 public:
  static Result<std::shared_ptr<TlsContext>> server(const TlsOptions& options);
  static Result<std::shared_ptr<TlsContext>> client(const TlsOptions& options);
  // For servers of the web, whose certificates the authorities in `ca_file` (PEM) sign.
  static Result<std::shared_ptr<TlsContext>> web_client(const std::string& ca_file);
  // Whether the library speaks it. Sessions with keys are then never resumed: nothing would be
  // saved.
  static bool has_tls13();

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  struct State;
  State& state() { return *state_; }  // for tls_session.cpp

 private:
  explicit TlsContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace splitd::net

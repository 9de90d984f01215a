// Owns: what the users of mbedTLS here share: the random source, the settings that every end has,
// suites, reasons in words, certificate files and names. 2.28 is what Debian 12 has; where 3.x
// differs, MBEDTLS_VERSION_MAJOR decides, here and nowhere else where it can be helped. Private to
// tls*.cpp: no other header includes mbedTLS.
#pragma once

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include <string>
#include <string_view>

#include "runtime/base/result.h"

// Before 3.6.1 clients cannot tell tickets from errors.
#if MBEDTLS_VERSION_NUMBER >= 0x03060100 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define SPLITD_TLS13
#endif

namespace splitd::net {

class TlsRandom {
 public:
  TlsRandom();
  ~TlsRandom();
  TlsRandom(const TlsRandom&) = delete;
  TlsRandom& operator=(const TlsRandom&) = delete;
  Status seed();
  mbedtls_ctr_drbg_context* context() { return &random_; }  // locks by itself

 private:
  mbedtls_entropy_context entropy_;
  mbedtls_ctr_drbg_context random_;
};

// TLS 1.2 or newer, no renegotiation, P-256 first. `end` is MBEDTLS_SSL_IS_CLIENT or _SERVER; the
// random source outlives the configuration.
[[nodiscard]] Status configure_tls(mbedtls_ssl_config& config, int end, TlsRandom& random);

// Forward secrecy and authenticated encryption; each list ends with 0. In words what servers of the
// web are offered.
extern const std::string_view kTlsOffer;
extern const int kCertificateSuites[];
extern const int kPskSuites[];
extern const int kAllSuites[];

[[nodiscard]] std::string tls_text(int code);
// "unknown authority, expired": the reasons in a verification's flags, one line.
[[nodiscard]] std::string refusal_text(uint32_t flags);
// Whether a subject alternative name covers this DNS name or address.
[[nodiscard]] bool certificate_names(const mbedtls_x509_crt& certificate, const std::string& host);
// What a certificate calls its owner: the first DNS name, else the common name; escaped.
[[nodiscard]] std::string certificate_owner(const mbedtls_x509_crt& certificate);
[[nodiscard]] std::string_view tls_session_id(const mbedtls_ssl_session& session);
// All certificates of a PEM file. An error names the file.
[[nodiscard]] Status load_certificates(mbedtls_x509_crt& into, const std::string& file);

}  // namespace splitd::net

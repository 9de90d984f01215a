#include "net/tls_mbed.h"

#include <mbedtls/oid.h>
#include <string.h>
#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

#include "net/limits.h"
#include "net/tcp.h"
#include "net/text.h"
#include "net/tls_names.h"
#include "runtime/base/files.h"

namespace splitd::net {

// ChaCha20 first: mbedTLS's GCM is slower even with AES instructions (0.30 against 0.49 GB/s on a
// Xeon), and far slower without them.
#if defined(SPLITD_TLS13)
const std::string_view kTlsOffer = "TLS 1.2 and 1.3 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#define SPLITD_TLS13_SUITES                                                   \
  MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256, \
      MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#else
const std::string_view kTlsOffer = "TLS 1.2 with ECDHE and ChaCha20-Poly1305 or AES-GCM";
#define SPLITD_TLS13_SUITES
#endif
#define SPLITD_CERTIFICATE_SUITES                          \
  MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,   \
      MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, \
      MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,     \
      MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,       \
      MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,     \
      MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384

const int kCertificateSuites[] = {SPLITD_TLS13_SUITES SPLITD_CERTIFICATE_SUITES, 0};
// The only one with forward secrecy and authenticated encryption in TLS 1.2.
const int kPskSuites[] = {SPLITD_TLS13_SUITES MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
                          0};
const int kAllSuites[] = {SPLITD_TLS13_SUITES MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
                          SPLITD_CERTIFICATE_SUITES, 0};

TlsRandom::TlsRandom() {
  mbedtls_entropy_init(&entropy_);
  mbedtls_ctr_drbg_init(&random_);
}

TlsRandom::~TlsRandom() {
  mbedtls_ctr_drbg_free(&random_);
  mbedtls_entropy_free(&entropy_);
}

Status TlsRandom::seed() {
#if defined(MBEDTLS_PSA_CRYPTO_C) && MBEDTLS_VERSION_MAJOR >= 3
  if (psa_crypto_init() != PSA_SUCCESS) return failed("cannot start the crypto library");
#endif
  const int code = mbedtls_ctr_drbg_seed(&random_, mbedtls_entropy_func, &entropy_, nullptr, 0);
  if (code != 0) return failed("cannot seed the random source: " + tls_text(code));
  return {};
}

Status configure_tls(mbedtls_ssl_config& config, int end, TlsRandom& random) {
  const int code = mbedtls_ssl_config_defaults(&config, end, MBEDTLS_SSL_TRANSPORT_STREAM,
                                               MBEDTLS_SSL_PRESET_DEFAULT);
  if (code != 0) return failed("cannot set up TLS: " + tls_text(code));
    // The library would take the largest curve first, which doubles the handshake's arithmetic.
#if MBEDTLS_VERSION_MAJOR >= 3
  mbedtls_ssl_conf_min_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
#if !defined(SPLITD_TLS13)
  mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
  static const uint16_t kGroups[] = {
      MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
      MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
      MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
  mbedtls_ssl_conf_groups(&config, kGroups);
#else
  mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  static const mbedtls_ecp_group_id kCurves[] = {
      MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP384R1,
      MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE};
  mbedtls_ssl_conf_curves(&config, kCurves);
#endif
  mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, random.context());
#if defined(MBEDTLS_SSL_RENEGOTIATION)
  mbedtls_ssl_conf_renegotiation(&config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
  return {};
}

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

std::string certificate_owner(const mbedtls_x509_crt& certificate) {
  const auto text = [](const mbedtls_x509_buf& buffer) {
    // Escaped without the quotes: it becomes a part of an identity.
    const std::string shown =
        quoted({reinterpret_cast<const char*>(buffer.p), buffer.len}, limits::kMaxPskIdentityBytes);
    return shown.substr(1, shown.rfind('"') - 1);
  };
  for (const mbedtls_x509_sequence* item = &certificate.subject_alt_names;
       item != nullptr && item->buf.p != nullptr; item = item->next) {
    const int kind = item->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
    if (kind == MBEDTLS_X509_SAN_DNS_NAME && item->buf.len > 0) return text(item->buf);
  }
  for (const mbedtls_x509_name* item = &certificate.subject; item != nullptr; item = item->next) {
    const bool common = MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &item->oid) == 0;
    if (common && item->val.len > 0) return text(item->val);
  }
  return {};
}

Status load_certificates(mbedtls_x509_crt& into, const std::string& file) {
  SPLITD_ASSIGN(const std::string pem, read_file(file, limits::kMaxCaFileBytes));
  // With its final NUL, which is how mbedTLS tells PEM from DER. Positive: that many did not parse
  // (odd curves, old formats), which leaves the others as good as they were.
  const int code = mbedtls_x509_crt_parse(
      &into, reinterpret_cast<const unsigned char*>(pem.c_str()), pem.size() + 1);
  if (code < 0 || into.version == 0) {
    return failed(file + ": no usable certificate" + (code < 0 ? ": " + tls_text(code) : ""));
  }
  return {};
}

std::string_view tls_session_id(const mbedtls_ssl_session& session) {
#if MBEDTLS_VERSION_MAJOR >= 3
  return {reinterpret_cast<const char*>(*mbedtls_ssl_session_get_id(&session)),
          mbedtls_ssl_session_get_id_len(&session)};
#else
  return {reinterpret_cast<const char*>(session.id), session.id_len};
#endif
}

}  // namespace splitd::net

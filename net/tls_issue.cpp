#include "net/tls_issue.h"

#include <mbedtls/oid.h>
#include <mbedtls/pk.h>

#include <array>
#include <cstring>
#include <ctime>

#include "net/limits.h"
#include "net/tcp.h"
#include "net/tls_mbed.h"

namespace splitd::net {
namespace {

constexpr std::string_view kAuthorityName = "CN=splitd authority ";
constexpr size_t kMaxNameBytes = 64;  // X.520: of a common name

Status check(int code, const char* what) {
  if (code >= 0) return {};
  return failed(std::string(what) + ": " + tls_text(code));
}

class Key {
 public:
  Key() { mbedtls_pk_init(&key_); }
  ~Key() { mbedtls_pk_free(&key_); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  mbedtls_pk_context* get() { return &key_; }

  Status make(TlsRandom& random) {
    SPLITD_TRY(check(mbedtls_pk_setup(&key_, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)), "key"));
    return check(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key_),
                                     mbedtls_ctr_drbg_random, random.context()),
                 "key");
  }
  Status read(const Secret& pem, TlsRandom& random) {
    const std::string_view text = pem.reveal();  // of a std::string: its NUL follows, as is wanted
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
#if MBEDTLS_VERSION_MAJOR >= 3
    const int code = mbedtls_pk_parse_key(&key_, bytes, text.size() + 1, nullptr, 0,
                                          mbedtls_ctr_drbg_random, random.context());
#else
    (void)random;
    const int code = mbedtls_pk_parse_key(&key_, bytes, text.size() + 1, nullptr, 0);
#endif
    return check(code, "the authority's key");
  }
  Result<Secret> pem() {
    std::string text(1024, '\0');
    const int code =
        mbedtls_pk_write_key_pem(&key_, reinterpret_cast<unsigned char*>(text.data()), text.size());
    Secret all(std::move(text));
    SPLITD_TRY(check(code, "key"));
    return Secret(std::string(all.reveal().substr(0, std::strlen(all.reveal().data()))));
  }

 private:
  mbedtls_pk_context key_;
};

class Certificate {
 public:
  Certificate() { mbedtls_x509_crt_init(&certificate_); }
  ~Certificate() { mbedtls_x509_crt_free(&certificate_); }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  mbedtls_x509_crt* get() { return &certificate_; }

 private:
  mbedtls_x509_crt certificate_;
};

class Writer {
 public:
  Writer() { mbedtls_x509write_crt_init(&out_); }
  ~Writer() { mbedtls_x509write_crt_free(&out_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  mbedtls_x509write_cert* get() { return &out_; }

 private:
  mbedtls_x509write_cert out_;
};

// "20260131235959", UTC.
std::string time_text(std::chrono::system_clock::time_point at) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 20> text{};
  std::strftime(text.data(), text.size(), "%Y%m%d%H%M%S", &parts);
  return text.data();
}

std::string time_text(const mbedtls_x509_time& at) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%04d%02d%02d%02d%02d%02d", at.year, at.mon, at.day,
                at.hour, at.min, at.sec);
  return text.data();
}

// Tag, length, content.
std::string der(unsigned char tag, const std::string& content) {
  std::string out(1, static_cast<char>(tag));
  const size_t length = content.size();
  if (length >= 128) out += length < 256 ? '\x81' : '\x82';
  if (length >= 256) out += static_cast<char>(length >> 8);
  out += static_cast<char>(length & 255);
  return out + content;
}

// Set by hand, as 2.28 has no calls for these.
Status set_extension(mbedtls_x509write_cert* out, const char* oid, size_t oid_bytes,
                     const std::string& value) {
  return check(mbedtls_x509write_crt_set_extension(
                   out, oid, oid_bytes, 0, reinterpret_cast<const unsigned char*>(value.data()),
                   value.size()),
               "certificate");
}

Status set_names(mbedtls_x509write_cert* out, const std::vector<std::string>& names) {
  std::string items;
  for (const std::string& name : names) {
    const std::string address = ip_bytes(name);
    items += address.empty() ? der(0x82, name) : der(0x87, address);
  }
  return set_extension(out, MBEDTLS_OID_SUBJECT_ALT_NAME,
                       MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), der(0x30, items));
}

// Both ends of a connection show one: server and client.
Status set_purpose(mbedtls_x509write_cert* out) {
  const auto oid = [](const char* bytes, size_t n) { return der(0x06, std::string(bytes, n)); };
  const std::string both = oid(MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)) +
                           oid(MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH));
  return set_extension(out, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                       MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), der(0x30, both));
}

Status set_serial(mbedtls_x509write_cert* out, TlsRandom& random) {
  std::array<unsigned char, 16> bytes{};
  SPLITD_TRY(
      check(mbedtls_ctr_drbg_random(random.context(), bytes.data(), bytes.size()), "random"));
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3f) | 0x40);  // positive, all 16 bytes
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
  return check(mbedtls_x509write_crt_set_serial_raw(out, bytes.data(), bytes.size()), "serial");
#else
  mbedtls_mpi number;
  mbedtls_mpi_init(&number);
  int code = mbedtls_mpi_read_binary(&number, bytes.data(), bytes.size());
  if (code == 0) code = mbedtls_x509write_crt_set_serial(out, &number);
  mbedtls_mpi_free(&number);
  return check(code, "serial");
#endif
}

struct Names {
  std::string subject;  // "CN=…"
  std::string issuer;
};

// What every certificate here has; `more` adds what only some do.
template <class More>
Result<std::string> write(Key& subject, Key& issuer, const Names& names, const Validity& validity,
                          TlsRandom& random, const More& more) {
  Writer writer;
  mbedtls_x509write_cert* out = writer.get();
  mbedtls_x509write_crt_set_version(out, MBEDTLS_X509_CRT_VERSION_3);
  mbedtls_x509write_crt_set_md_alg(out, MBEDTLS_MD_SHA256);
  mbedtls_x509write_crt_set_subject_key(out, subject.get());
  mbedtls_x509write_crt_set_issuer_key(out, issuer.get());
  SPLITD_TRY(check(mbedtls_x509write_crt_set_subject_name(out, names.subject.c_str()), "name"));
  SPLITD_TRY(check(mbedtls_x509write_crt_set_issuer_name(out, names.issuer.c_str()), "name"));
  SPLITD_TRY(set_serial(out, random));
  const std::string from = time_text(validity.now - std::chrono::hours(1));
  const std::string to = time_text(validity.now + validity.length);
  SPLITD_TRY(check(mbedtls_x509write_crt_set_validity(out, from.c_str(), to.c_str()), "validity"));
  SPLITD_TRY(check(mbedtls_x509write_crt_set_subject_key_identifier(out), "certificate"));
  SPLITD_TRY(check(mbedtls_x509write_crt_set_authority_key_identifier(out), "certificate"));
  SPLITD_TRY(more(out));
  std::array<unsigned char, 8192> pem{};
  SPLITD_TRY(check(mbedtls_x509write_crt_pem(out, pem.data(), pem.size(), mbedtls_ctr_drbg_random,
                                             random.context()),
                   "certificate"));
  return std::string(reinterpret_cast<const char*>(pem.data()));
}

// A name goes into a file's name, a subject and a list of names: nothing that means something
// there.
Status check_name(const std::string& name) {
  constexpr std::string_view kGood =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  const bool plain =
      name.find_first_not_of(kGood) == name.npos && name.front() != '.' && name.front() != '-';
  if (!name.empty() && name.size() <= kMaxNameBytes && (plain || !ip_bytes(name).empty()))
    return {};
  return usage_error(quoted(name) + " is no name for a machine: at most " +
                     std::to_string(kMaxNameBytes) +
                     " letters, digits, '.', '-' and '_', or an address in numbers");
}

}  // namespace

Result<IssuedCertificate> make_authority(const Validity& validity) {
  TlsRandom random;
  SPLITD_TRY(random.seed());
  Key key;
  SPLITD_TRY(key.make(random));
  // Two authorities are told apart by their name: half of a random number.
  std::array<unsigned char, 4> tag{};
  SPLITD_TRY(check(mbedtls_ctr_drbg_random(random.context(), tag.data(), tag.size()), "random"));
  std::array<char, 9> digits{};
  std::snprintf(digits.data(), digits.size(), "%02x%02x%02x%02x", tag[0], tag[1], tag[2], tag[3]);
  const std::string name = std::string(kAuthorityName) + digits.data();
  IssuedCertificate out;
  SPLITD_ASSIGN(
      out.certificate_pem,
      write(key, key, {name, name}, validity, random, [](mbedtls_x509write_cert* to) -> Status {
        SPLITD_TRY(check(mbedtls_x509write_crt_set_basic_constraints(to, 1, 0), "constraints"));
        return check(mbedtls_x509write_crt_set_key_usage(
                         to, MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN),
                     "usage");
      }));
  SPLITD_ASSIGN(out.key_pem, key.pem());
  return out;
}

Result<IssuedCertificate> issue_certificate(const std::string& authority_pem,
                                            const Secret& authority_key_pem,
                                            const std::vector<std::string>& names,
                                            const Validity& validity) {
  for (const std::string& name : names) SPLITD_TRY(check_name(name));
  if (names.empty()) return usage_error("a certificate needs a name");
  TlsRandom random;
  SPLITD_TRY(random.seed());
  Certificate authority;
  SPLITD_TRY(
      check(mbedtls_x509_crt_parse(authority.get(),
                                   reinterpret_cast<const unsigned char*>(authority_pem.c_str()),
                                   authority_pem.size() + 1),
            "the authority's certificate"));
  Key authority_key, key;
  SPLITD_TRY(authority_key.read(authority_key_pem, random));
#if MBEDTLS_VERSION_MAJOR >= 3
  const int pair = mbedtls_pk_check_pair(&authority.get()->pk, authority_key.get(),
                                         mbedtls_ctr_drbg_random, random.context());
#else
  const int pair = mbedtls_pk_check_pair(&authority.get()->pk, authority_key.get());
#endif
  if (pair != 0) return failed("the authority's key does not belong to its certificate");
  if (time_text(authority.get()->valid_to) < time_text(validity.now + validity.length)) {
    return failed("the authority ends on " + time_text(authority.get()->valid_to).substr(0, 8) +
                  " (UTC), before this certificate would; fewer days are accepted");
  }
  std::array<char, 512> issuer{};
  SPLITD_TRY(check(mbedtls_x509_dn_gets(issuer.data(), issuer.size(), &authority.get()->subject),
                   "the authority's name"));
  SPLITD_TRY(key.make(random));
  IssuedCertificate out;
  SPLITD_ASSIGN(out.certificate_pem,
                write(key, authority_key, {"CN=" + names.front(), issuer.data()}, validity, random,
                      [&](mbedtls_x509write_cert* to) -> Status {
                        SPLITD_TRY(check(mbedtls_x509write_crt_set_basic_constraints(to, 0, -1),
                                         "constraints"));
                        SPLITD_TRY(check(mbedtls_x509write_crt_set_key_usage(
                                             to, MBEDTLS_X509_KU_DIGITAL_SIGNATURE),
                                         "usage"));
                        SPLITD_TRY(set_purpose(to));
                        return set_names(to, names);
                      }));
  SPLITD_ASSIGN(out.key_pem, key.pem());
  return out;
}

}  // namespace splitd::net

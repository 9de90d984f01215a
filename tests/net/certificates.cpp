#include "tests/net/certificates.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

#include <cstdio>
#include <cstdlib>

#include "net/tcp.h"

namespace splitd::net {
namespace {

void must(int code, const char* what) {
  if (code >= 0) return;
  std::fprintf(stderr, "making a test certificate: %s: -0x%x\n", what,
               static_cast<unsigned>(-code));
  std::abort();
}

// SEQUENCE { [2] dns …, [7] address … }: 2.28 has no call for it. Short forms only.
std::string alternative_names(const TestNames& names) {
  std::string items;
  const auto add = [&](char tag, const std::string& value) {
    items.push_back(tag);
    items.push_back(static_cast<char>(value.size()));
    items += value;
  };
  for (const std::string& name : names.dns) add('\x82', name);
  for (const std::string& address : names.ip) add('\x87', ip_bytes(address));
  if (items.size() > 127) std::abort();
  return std::string("\x30") + static_cast<char>(items.size()) + items;
}

}  // namespace

struct TestAuthority::State {
  State() {
#if defined(MBEDTLS_PSA_CRYPTO_C) && MBEDTLS_VERSION_MAJOR >= 3
    psa_crypto_init();
#endif
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    must(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0), "random");
    make_key(key);
  }
  ~State() {
    mbedtls_pk_free(&key);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
  }

  void make_key(mbedtls_pk_context& out) {
    mbedtls_pk_init(&out);
    must(mbedtls_pk_setup(&out, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)), "key");
    must(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(out), mbedtls_ctr_drbg_random,
                             &random),
         "key");
  }

  std::string write(mbedtls_pk_context& subject, const TestNames& names, bool authority) {
    mbedtls_x509write_cert out;
    mbedtls_x509write_crt_init(&out);
    mbedtls_x509write_crt_set_version(&out, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&out, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&out, &subject);
    mbedtls_x509write_crt_set_issuer_key(&out, &key);
    const std::string name = "CN=" + (authority ? "test authority" : names.common_name);
    must(mbedtls_x509write_crt_set_subject_name(&out, name.c_str()), "subject");
    must(mbedtls_x509write_crt_set_issuer_name(&out, "CN=test authority"), "issuer");
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    auto number = static_cast<unsigned char>(++serial);
    must(mbedtls_x509write_crt_set_serial_raw(&out, &number, 1), "serial");
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    must(mbedtls_mpi_lset(&number, ++serial), "serial");
    must(mbedtls_x509write_crt_set_serial(&out, &number), "serial");
    mbedtls_mpi_free(&number);
#endif
    must(
        mbedtls_x509write_crt_set_validity(&out, names.not_before.c_str(), names.not_after.c_str()),
        "validity");
    must(mbedtls_x509write_crt_set_basic_constraints(&out, authority ? 1 : 0, -1), "constraints");
    if (!names.dns.empty() || !names.ip.empty()) {
      const std::string san = alternative_names(names);
      must(mbedtls_x509write_crt_set_extension(
               &out, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME),
               0, reinterpret_cast<const unsigned char*>(san.data()), san.size()),
           "names");
    }
    unsigned char pem[4096];
    must(mbedtls_x509write_crt_pem(&out, pem, sizeof pem, mbedtls_ctr_drbg_random, &random), "pem");
    mbedtls_x509write_crt_free(&out);
    return reinterpret_cast<const char*>(pem);
  }

  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;
  mbedtls_pk_context key;
  int serial = 0;
};

TestAuthority::TestAuthority() : state_(std::make_unique<State>()) {}
TestAuthority::~TestAuthority() = default;

std::string TestAuthority::certificate_pem() const {
  return state_->write(state_->key, {}, true);
}

TestIdentity TestAuthority::issue(const TestNames& names) {
  mbedtls_pk_context key;
  state_->make_key(key);
  TestIdentity out;
  out.certificate_pem = state_->write(key, names, false);
  unsigned char pem[1024];
  must(mbedtls_pk_write_key_pem(&key, pem, sizeof pem), "key");
  out.key_pem = reinterpret_cast<const char*>(pem);
  mbedtls_pk_free(&key);
  return out;
}

TestAuthority& test_authority() {
  static TestAuthority authority;
  return authority;
}

const TestIdentity& local_identity() {
  static const TestIdentity identity =
      test_authority().issue({.dns = {"localhost"}, .ip = {"127.0.0.1", "::1"}});
  return identity;
}

}  // namespace splitd::net

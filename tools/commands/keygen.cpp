// `splitd keygen`: shared keys, and a small private authority for fleets.
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>

#include <array>

#include "net/limits.h"
#include "net/psk_file.h"
#include "net/tls_issue.h"
#include "runtime/base/files.h"
#include "runtime/base/sha256.h"
#include "tools/commands.h"

namespace splitd::cli {
namespace {

using net::Secret;

constexpr int64_t kAuthorityDays = 7300;  // outlives what it signs for a long time
constexpr int64_t kCertificateDays = 3650;
constexpr std::string_view kAuthority = "ca.pem";
constexpr std::string_view kAuthorityKey = "ca-key.pem";

Result<Secret> random_key_hex() {
  std::array<uint8_t, net::kPskBytes> key{};
  if (::getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return system_error("getrandom");
  }
  Secret out(hex(key));
  key.fill(0);
  return out;
}

Status run_psk(Context& context, const std::vector<std::string>& words) {
  if (words.size() != 1) return usage_error("keygen psk: one IDENTITY is accepted");
  const std::string& identity = words[0];
  if (!net::is_psk_identity(identity) || identity.front() == '#') {
    return usage_error("keygen psk: IDENTITY is 1 to " +
                       std::to_string(net::limits::kMaxPskIdentityBytes) +
                       " visible ASCII characters, and does not begin with '#'");
  }
  SPLITD_ASSIGN(const Secret key, random_key_hex());
  const Secret line(identity + " " + std::string(key.reveal()) + "\n");
  if (context.given("out")) return net::write_secret_file(context.text("out"), line.reveal());
  context.out().write(line.reveal());
  return {};
}

net::Validity validity(const Context& context, int64_t days) {
  if (context.given("days")) days = context.integer("days");
  return {std::chrono::system_clock::now(), std::chrono::hours(24 * days)};
}

// Both files or none.
Status write_pair(const std::string& certificate, const std::string& key,
                  const net::IssuedCertificate& issued) {
  for (const std::string& path : {certificate, key}) {
    if (!path_exists(path)) continue;
    return usage_error(path + " is there already, and keys are never written over others");
  }
  SPLITD_TRY(net::write_secret_file(key, issued.key_pem.reveal()));
  return net::write_secret_file(certificate, issued.certificate_pem);
}

Status run_ca(Context& context, const std::vector<std::string>& words) {
  if (words.size() != 1) return usage_error("keygen ca: one DIR is accepted");
  const std::string& directory = words[0];
  if (!is_directory(directory) && ::mkdir(directory.c_str(), 0700) != 0) {
    return system_error("cannot make " + directory);
  }
  SPLITD_ASSIGN(const net::IssuedCertificate issued,
                net::make_authority(validity(context, kAuthorityDays)));
  const std::string base = directory + "/";
  SPLITD_TRY(write_pair(base + std::string(kAuthority), base + std::string(kAuthorityKey), issued));
  context.out().write(base + std::string(kAuthority) + "\n");
  return {};
}

Status run_cert(Context& context, const std::vector<std::string>& words) {
  if (words.size() < 2) return usage_error("keygen cert: DIR and at least one NAME are needed");
  const std::string base = words[0] + "/";
  std::vector<std::string> names(words.begin() + 1, words.end());
  // The machine itself, for trying it out and for the near end of a tunnel.
  for (const char* here : {"localhost", "127.0.0.1", "::1"}) {
    if (std::find(names.begin(), names.end(), here) == names.end()) names.emplace_back(here);
  }
  SPLITD_ASSIGN(const std::string authority,
                read_file(base + std::string(kAuthority), net::limits::kMaxKeyFileBytes));
  SPLITD_ASSIGN(const Secret key, net::read_secret_file(base + std::string(kAuthorityKey),
                                                        net::limits::kMaxKeyFileBytes));
  Result<net::IssuedCertificate> issued =
      net::issue_certificate(authority, key, names, validity(context, kCertificateDays));
  if (!issued) return issued.take_error().within("keygen cert");
  SPLITD_TRY(write_pair(base + names[0] + ".pem", base + names[0] + "-key.pem", *issued));
  context.out().write(base + names[0] + ".pem\n");
  return {};
}

Status run_keygen(Context& context) {
  const std::string& what = context.argument("WHAT");
  const std::vector<std::string>& words = context.rest("NAME");
  if (context.given("out") && what != "psk") {
    return usage_error("--out: only psk writes one file; ca and cert write into DIR");
  }
  if (what == "psk") return run_psk(context, words);
  if (what == "ca") return run_ca(context, words);
  return run_cert(context, words);
}

}  // namespace

Command keygen_command() {
  return {.name = "keygen",
          .summary = "make the keys that two ends prove themselves with",
          .positionals = {{.name = "WHAT",
                           .help = "a shared key, an authority, or a certificate that it signs",
                           .choices = "psk|ca|cert"},
                          {.name = "NAME",
                           .help = "psk: IDENTITY; ca: DIR; cert: DIR, then names and addresses",
                           .repeats = true}},
          .flags = {{.flags = {{.name = "out",
                                .kind = FlagKind::file,
                                .help = "psk: a new file instead of stdout"},
                               {.name = "days",
                                .kind = FlagKind::integer,
                                .help = "how long a certificate is good for",
                                .fallback = "3650",
                                .min = 1,
                                .max = 36500}}}},
          .examples = {{"splitd keygen psk robot7 --out robot7.psk"},
                       {"splitd keygen ca fleet"},
                       {"splitd keygen cert fleet cloud.example.org 192.0.2.7"}},
          .notes =
              "Files are made for their owner alone (0600) and never written over others. A body "
              "takes many shared keys: append the lines to one file. `cert` reads DIR/ca.pem and "
              "DIR/ca-key.pem and writes DIR/NAME.pem and DIR/NAME-key.pem; a machine needs its "
              "own two and ca.pem, never ca-key.pem. NAMEs are what other machines call it by; "
              "localhost "
              "is always among them.",
          .run = run_keygen};
}

}  // namespace splitd::cli

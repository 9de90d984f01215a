#include "tools/network/tls_flags.h"

#include <string>

namespace splitd::cli {

FlagGroup tls_flags() {
  return {.title = "Security",
          .flags = {{.name = "psk-file",
                     .kind = FlagKind::file,
                     .help = "TLS with a shared key: lines of IDENTITY HEX64 (splitd keygen psk)"},
                    {.name = "cert",
                     .kind = FlagKind::file,
                     .help = "TLS with certificates on both ends: this end's (splitd keygen cert)"},
                    {.name = "key", .kind = FlagKind::file, .help = "its private key"},
                    {.name = "ca",
                     .kind = FlagKind::file,
                     .help = "the authority that signed the other end's (splitd keygen ca)"},
                    {.name = "insecure",
                     .help = "speak without TLS although the other end is another machine"}}};
}

Result<net::TlsOptions> read_tls_flags(const Context& context) {
  net::TlsOptions options;
  options.psk_file = context.text("psk-file");
  options.cert_file = context.text("cert");
  options.key_file = context.text("key");
  options.ca_file = context.text("ca");
  const std::pair<const char*, const std::string*> parts[] = {
      {"--cert", &options.cert_file}, {"--key", &options.key_file}, {"--ca", &options.ca_file}};
  std::string missing, named;
  for (const auto& [flag, value] : parts) {
    std::string& list = value->empty() ? missing : named;
    list += (list.empty() ? "" : " and ") + std::string(flag);
  }
  if (!named.empty() && !missing.empty()) {
    return usage_error(named + " needs " + missing + " beside it: certificates prove both ends");
  }
  if (options.any() && context.flag("insecure")) {
    return usage_error("--insecure: TLS was asked for too; one of both is accepted");
  }
  return options;
}

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace splitd::cli

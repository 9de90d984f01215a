// Owns: making the certificates of a small private authority: P-256 keys, SHA-256, names of hosts
// and addresses as subject alternative names. mbedTLS stays inside. Keys leave as Secrets.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "net/text.h"
#include "runtime/base/result.h"

namespace splitd::net {

struct IssuedCertificate {
  std::string certificate_pem;
  Secret key_pem;
};

// Valid from an hour before `now`, so that a clock that is a little late does not matter.
struct Validity {
  std::chrono::system_clock::time_point now;
  std::chrono::hours length{};
};

// A certificate that signs itself and may sign others, but none that sign in turn.
[[nodiscard]] Result<IssuedCertificate> make_authority(const Validity& validity);

// One for a machine, as server and as client. Each name is a host's name or an address in numbers;
// the first is what the machine is called. Refuses an authority whose key is another's, and
// validity beyond the authority's.
[[nodiscard]] Result<IssuedCertificate> issue_certificate(const std::string& authority_pem,
                                                          const Secret& authority_key_pem,
                                                          const std::vector<std::string>& names,
                                                          const Validity& validity);

}  // namespace splitd::net

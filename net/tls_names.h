// Owns: whether a certificate's names cover the host that was asked for (RFC 6125, 9110): only
// subject alternative names count, addresses only match addresses, a wildcard is one whole left
// label. mbedTLS 2.28 compares an address's bytes with the host's letters, so this decides instead.
// Pure functions; knows no TLS library.
#pragma once

#include <string_view>

namespace splitd::net {

// `name` as a certificate has it ("*.example.org"), `host` without a trailing dot.
[[nodiscard]] bool dns_name_covers(std::string_view name, std::string_view host);

}  // namespace splitd::net

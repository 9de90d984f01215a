// Owns: how a user says with what one end proves itself: the flags that `cloud` and `local` share.
#pragma once

#include <memory>

#include "net/tls_context.h"
#include "runtime/base/result.h"
#include "tools/command.h"

namespace splitd::cli {

// --psk-file, --cert, --key, --ca, --insecure.
[[nodiscard]] FlagGroup tls_flags();

// The files named by these flags: all four empty where none is given.
[[nodiscard]] Result<net::TlsOptions> read_tls_flags(const Context& context);

// Whether `host` can only be reached from this machine: a loopback address, or localhost.
[[nodiscard]] bool is_loopback_name(std::string_view host);

}  // namespace splitd::cli

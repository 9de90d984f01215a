// Owns: the seam between bytes and whoever moves them. The virtual calls never block, so that an
// event loop and a blocking caller use the same transports; the blocking forms below are built on
// them. One thread at a time per transport.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/wait.h"
#include "runtime/base/result.h"

namespace splitd::net {

enum class Want : uint8_t { nothing, readable, writable };

// What one attempt came to: some bytes, or the peer's orderly end, or what the descriptor must
// become before the same call is worth repeating.
struct Io {
  size_t bytes = 0;
  Want want = Want::nothing;
  bool end = false;
};

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  // An `end` is only what the peer said on purpose: TLS without its closing alert is an error.
  [[nodiscard]] virtual Result<Io> try_read(std::span<std::byte> into) = 0;
  // After `want`, the next call passes the same bytes again.
  [[nodiscard]] virtual Result<Io> try_write(std::span<const std::byte> bytes) = 0;

  virtual int fd() const = 0;
  // "host:port", as messages name the other end.
  virtual const std::string& peer() const = 0;
};

// At least one byte, or 0 at the peer's orderly end.
[[nodiscard]] Result<size_t> read_some(Transport& transport, std::span<std::byte> into,
                                       const Wait& wait);
// All of it.
[[nodiscard]] Status write_all(Transport& transport, std::span<const std::byte> bytes,
                               const Wait& wait);
[[nodiscard]] Status write_all(Transport& transport, std::string_view text, const Wait& wait);

// Blocks until what `want` says; `doing` begins the message ("reading from").
[[nodiscard]] Status wait_until(const Transport& transport, Want want, const Wait& wait,
                                std::string_view doing);

}  // namespace splitd::net

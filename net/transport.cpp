// The blocking forms over the seam.
#include "net/transport.h"

namespace splitd::net {

Status wait_until(const Transport& transport, Want want, const Wait& wait, std::string_view doing) {
  const short events = want == Want::writable ? POLLOUT : POLLIN;
  pollfd descriptor{transport.fd(), events, 0};
  SPLITD_ASSIGN(const Ready ready, poll_until({&descriptor, 1}, wait));
  if (ready == Ready::yes) return {};
  // Put together only here: waiting allocates nothing.
  const std::string what = std::string(doing) + " " + transport.peer();
  return ready == Ready::cancelled ? interrupted(what) : timed_out(what);
}

Result<size_t> read_some(Transport& transport, std::span<std::byte> into, const Wait& wait) {
  while (true) {
    if (wait.cancelled()) return interrupted("reading from " + transport.peer());
    SPLITD_ASSIGN(const Io io, transport.try_read(into));
    if (io.bytes > 0 || io.end) return io.bytes;
    SPLITD_TRY(wait_until(transport, io.want, wait, "reading from"));
  }
}

Status write_all(Transport& transport, std::span<const std::byte> bytes, const Wait& wait) {
  while (!bytes.empty()) {
    if (wait.cancelled()) return interrupted("writing to " + transport.peer());
    SPLITD_ASSIGN(const Io io, transport.try_write(bytes));
    bytes = bytes.subspan(io.bytes);
    if (io.bytes == 0) SPLITD_TRY(wait_until(transport, io.want, wait, "writing to"));
  }
  return {};
}

Status write_all(Transport& transport, std::string_view text, const Wait& wait) {
  return write_all(transport, std::as_bytes(std::span(text.data(), text.size())), wait);
}

}  // namespace splitd::net

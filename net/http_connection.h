// Owns: one connection that speaks HTTP/1.1 as a client: how it is made (directly or through a
// proxy's CONNECT, TLS on top) and the bytes that arrived but are not yet parsed. One thread at a
// time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/http1.h"
#include "net/limits.h"
#include "net/tls.h"
#include "net/transport.h"
#include "net/url.h"

namespace splitd::net {

struct HttpTimeouts {
  milliseconds connect = limits::kConnect;
  milliseconds tls_handshake = limits::kTlsHandshake;
  milliseconds head = limits::kHttpHead;
  milliseconds body_window = limits::kHttpBodyWindow;
  uint64_t body_window_bytes = limits::kHttpBodyWindowBytes;
};

struct HttpConnectOptions {
  std::shared_ptr<TlsClient> tls;  // without it https is refused
  std::optional<Url> proxy;        // http://host:port; for https requests only
  std::string no_proxy;            // as $NO_PROXY: "localhost,.example.org,10.0.0.1" or "*"
  HttpTimeouts timeouts;
};

class HttpConnection {
 public:
  // *permanent says, with an error, that trying again cannot help.
  static Result<std::unique_ptr<HttpConnection>> open(const Url& url,
                                                      const HttpConnectOptions& options,
                                                      const Cancellation* cancel, bool* permanent);

  Status send(std::string_view bytes, const Wait& wait) {
    return write_all(*transport_, bytes, wait);
  }

  // Bytes that wait to be parsed; empty: receive() some more.
  std::span<const std::byte> pending() const {
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void consume(size_t count) { begin_ += count; }
  // Refills pending(), which must be empty. False: the peer ended the connection.
  Result<bool> receive(const Wait& wait);

  bool serves(const Url& url) const { return same_origin(url, origin_); }
  const std::string& peer() const { return transport_->peer(); }

 private:
  HttpConnection(std::unique_ptr<Transport> transport, Url origin)
      : transport_(std::move(transport)), origin_(std::move(origin)), buffer_(limits::kReadBytes) {}
  Status ask_proxy(const Wait& wait);

  std::unique_ptr<Transport> transport_;
  Url origin_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool ended_ = false;  // met while reading ahead
  Status failed_;
};

// Whether a host is named by a NO_PROXY list.
[[nodiscard]] bool bypasses_proxy(std::string_view no_proxy, const std::string& host);

}  // namespace splitd::net

// An HTTP/1.1 server for tests, on 127.0.0.1 and a port of the system's choice, over TLS or plain,
// that misbehaves on request. A thread per connection; the handler runs on those threads. Its TLS
// is mbedTLS's server side directly: nothing of net/tls.* is shared with the client under test.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/http_fields.h"
#include "net/tcp.h"
#include "tests/net/certificates.h"

namespace splitd::net {

struct TestRequest {
  std::string method;
  std::string target;
  HttpFields fields;
  uint64_t connection = 0;  // counts from 1
};

struct TestReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string body = {};
  bool length_field = true;  // Content-Length of the body
  bool chunked = false;
  bool close = false;                     // say "Connection: close" and do so
  bool linger = false;                    // with close: TLS says goodbye, and the socket stays open
  std::optional<uint64_t> cut_at = {};    // the connection is cut after this much of the body
  std::optional<uint64_t> stall_at = {};  // … or nothing more is sent until the client leaves
  std::optional<std::string> raw = {};    // sent instead of all that, then cut
  bool stall = false;                     // nothing is sent until the client leaves
};

class TestServer {
 public:
  using Handler = std::function<TestReply(const TestRequest&)>;

  // With an identity: TLS.
  TestServer(Handler handler, std::optional<TestIdentity> identity);
  ~TestServer();

  uint16_t port() const { return listener_->port(); }
  // "https://localhost:port"
  std::string url(const std::string& host = "localhost") const;

  uint64_t body_bytes_sent() const { return body_bytes_; }
  uint64_t connections() const { return connections_; }
  std::vector<TestRequest> requests() const;
  void forget_requests();

 private:
  struct Tls;
  void serve();
  void serve_one(std::unique_ptr<TcpStream> stream, uint64_t number);
  bool answer(Transport& transport, const TestRequest& request, bool& linger);
  bool send(Transport& transport, std::string_view text);
  void wait_for_client(Transport& transport);

  Handler handler_;
  std::unique_ptr<Tls> tls_;
  std::unique_ptr<TcpListener> listener_;
  Cancellation stop_;
  std::atomic<uint64_t> body_bytes_{0};
  std::atomic<uint64_t> connections_{0};
  mutable std::mutex mutex_;  // guards requests_ and threads_
  std::vector<TestRequest> requests_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// Answers a GET or HEAD for `content` as a file server does: Range with 206 or 416, If-Range, ETag.
[[nodiscard]] TestReply serve_content(const TestRequest& request, std::string_view content,
                                      const std::string& etag);

// The authority's certificate in a file, for TlsClientOptions::ca_file.
[[nodiscard]] std::string write_authority(const std::string& directory);

}  // namespace splitd::net

// Owns: HTTP requests as the rest of the program wants them: connections kept, redirects followed
// within bounds, transient failures repeated with back-off, Retry-After obeyed within bounds, and a
// deadline on every wait. A bearer token goes to the origin it was given for and nowhere else, and
// never over plain http except to this machine. Bodies are delivered as they are: compressed ones
// are refused. A client and its responses belong to one thread at a time; a response must not
// outlive its client.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/http_connection.h"
#include "net/http_retry.h"
#include "net/text.h"
#include "runtime/base/log.h"

namespace splitd::net {

struct HttpClientOptions {
  HttpConnectOptions connect;
  RetryPolicy retry;
  int max_redirects = limits::kMaxRedirects;
  std::string user_agent = "splitd";
  Log log;  // each retry, with its reason
};

struct HttpRequest {
  Url url;
  std::string method = "GET";  // or HEAD: what may be repeated without harm
  HttpFields fields;
  const Secret* bearer = nullptr;  // outlives the call
  const Cancellation* cancel = nullptr;
};

class HttpClient;

class HttpResponse {
 public:
  HttpResponse(HttpResponse&&) noexcept;
  HttpResponse& operator=(HttpResponse&&) noexcept;
  ~HttpResponse();  // an unread rest costs the connection

  int status() const { return head().status; }
  const HttpResponseHead& head() const { return parser_.head(); }
  const HttpFields& fields() const { return head().fields; }
  const Url& url() const { return url_; }  // after the redirects
  // The redirects that led here, first to last.
  const std::vector<HttpResponseHead>& history() const { return history_; }
  std::optional<uint64_t> length() const { return parser_.body().length(); }

  // The next bytes of the body, valid until the next call; empty at its end.
  Result<std::span<const std::byte>> read();
  // All that is left; longer than `most` is an error.
  Result<std::string> read_all(uint64_t most);

 private:
  friend class HttpClient;
  HttpResponse(HttpClient* client, std::unique_ptr<HttpConnection> connection, AnswerTo kind,
               const HttpRequest& request, Url url);
  Result<bool> receive_within_window();
  void finish();
  void drain();
  Error within(Error error) const;

  HttpClient* client_;
  std::unique_ptr<HttpConnection> connection_;  // null once done
  HttpResponseParser parser_;
  Url url_;
  std::string what_;  // "GET https://host/path", for messages
  const Cancellation* cancel_;
  std::vector<HttpResponseHead> history_;
  Clock::duration window_left_;  // time spent waiting counts, not the caller's
  uint64_t window_bytes_ = 0;
};

class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options) : options_(std::move(options)) {}
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // The answer's head, whatever its status: a transient one only after the last attempt, or when
  // the server wants a longer pause than is allowed. The body waits to be read.
  Result<HttpResponse> send(const HttpRequest& request);

  const HttpClientOptions& options() const { return options_; }

 private:
  friend class HttpResponse;
  struct Hop;
  Result<HttpResponse> attempt(const HttpRequest& request, const Hop& hop, bool* permanent);
  Result<HttpResponse> exchange(const HttpRequest& request, const Hop& hop,
                                std::unique_ptr<HttpConnection> connection, bool* unanswered);
  Result<std::string> request_head(const HttpRequest& request, const Hop& hop) const;
  Status follow(const HttpRequest& request, const HttpResponse& response, Hop& hop) const;
  std::unique_ptr<HttpConnection> take_idle(const Url& url);
  void keep(std::unique_ptr<HttpConnection> connection);
  std::optional<milliseconds> pause_after(const HttpResponse& response, Backoff& backoff) const;

  HttpClientOptions options_;
  std::vector<std::unique_ptr<HttpConnection>> idle_;  // oldest first
};

// "GET https://host/path: 404", with what the server wants where it is a pause.
[[nodiscard]] Error status_error(const HttpResponse& response);

// options.proxy and no_proxy from HTTPS_PROXY, https_proxy, ALL_PROXY, NO_PROXY, no_proxy.
[[nodiscard]] Status use_proxy_from_environment(HttpConnectOptions& options);

}  // namespace splitd::net

#include "net/http_client.h"

#include <cstdlib>

namespace splitd::net {

// Where a request stands on its way through redirects.
struct HttpClient::Hop {
  Url url;
  bool with_bearer = false;
  std::vector<HttpResponseHead> history;
};

// --- Responses

HttpResponse::HttpResponse(HttpClient* client, std::unique_ptr<HttpConnection> connection,
                           AnswerTo kind, const HttpRequest& request, Url url)
    : client_(client),
      connection_(std::move(connection)),
      parser_(kind),
      url_(std::move(url)),
      what_(request.method + " " + url_.shown()),
      cancel_(request.cancel),
      window_left_(client->options_.connect.timeouts.body_window) {}

HttpResponse::HttpResponse(HttpResponse&&) noexcept = default;
HttpResponse& HttpResponse::operator=(HttpResponse&&) noexcept = default;
HttpResponse::~HttpResponse() {
  if (connection_ && parser_.done()) finish();
}

Error HttpResponse::within(Error error) const {
  return std::move(error).within(what_);
}

void HttpResponse::finish() {
  if (connection_ && parser_.reusable()) client_->keep(std::move(connection_));
  connection_.reset();
}

// An answer that nobody reads is short as a rule and right behind its head: then taking it in is
// cheaper than a new connection.
void HttpResponse::drain() {
  const Wait wait = Wait::for_at_most(limits::kHttpDrain, cancel_);
  if (length().value_or(limits::kHttpDrainBytes + 1) > limits::kHttpDrainBytes) return;
  while (connection_ && !parser_.done()) {
    if (connection_->pending().empty()) {
      const Result<bool> more = connection_->receive(wait);
      if (!more || !*more) return connection_.reset();
    }
    const Result<BodyDecoder::Step> step = parser_.parse_body(connection_->pending());
    if (!step) return connection_.reset();
    connection_->consume(step->consumed);
  }
  if (parser_.done()) finish();
}

// False: the connection ended. Each window of waiting must bring its bytes.
Result<bool> HttpResponse::receive_within_window() {
  const HttpTimeouts& timeouts = client_->options_.connect.timeouts;
  while (true) {
    const Clock::time_point begin = Clock::now();
    Result<bool> more = connection_->receive({begin + window_left_, cancel_});
    window_left_ -= Clock::now() - begin;
    window_bytes_ += connection_->pending().size();
    const bool stopped = !more.ok() && more.error().kind == ErrorKind::interrupted;
    if (stopped || window_left_ > Clock::duration::zero()) return more;
    if (window_bytes_ < timeouts.body_window_bytes) {
      return peer_error("too slow: " + std::to_string(window_bytes_) + " bytes in " +
                        std::to_string(timeouts.body_window.count()) + " ms");
    }
    window_left_ = timeouts.body_window;
    window_bytes_ = 0;
    if (more.ok()) return more;
  }
}

Result<std::span<const std::byte>> HttpResponse::read() {
  while (connection_ && !parser_.done()) {
    if (connection_->pending().empty()) {
      Result<bool> more = receive_within_window();
      if (!more) {
        connection_.reset();
        return within(more.take_error());
      }
      if (!*more) {
        Status ended = parser_.end_of_stream();
        connection_.reset();
        if (!ended.ok()) return within(ended.take_error());
        break;
      }
    }
    Result<BodyDecoder::Step> step = parser_.parse_body(connection_->pending());
    if (!step) {
      connection_.reset();
      return within(step.take_error());
    }
    connection_->consume(step->consumed);
    // The connection, and the bytes in its buffer, stay until the caller comes back.
    if (!step->data.empty()) return step->data;
  }
  if (!parser_.done()) return within(peer_error("reading after a failure"));
  finish();
  return std::span<const std::byte>{};
}

Result<std::string> HttpResponse::read_all(uint64_t most) {
  std::string out;
  const auto too_long = [&] {
    return within(peer_error("longer than the allowed " + std::to_string(most) + " bytes"));
  };
  if (length().value_or(0) > most) return too_long();
  while (true) {
    SPLITD_ASSIGN(const std::span<const std::byte> data, read());
    if (data.empty()) return out;
    if (data.size() > most - out.size()) return too_long();
    out.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
}

Error status_error(const HttpResponse& response) {
  std::string text = response.url().shown() + " answers " + std::to_string(response.status());
  if (const auto pause = retry_after(response.fields(), std::chrono::system_clock::now())) {
    text += " and asks to wait " + std::to_string(pause->count() / 1000) + " s";
  }
  return peer_error(std::move(text));
}

// --- Requests

std::unique_ptr<HttpConnection> HttpClient::take_idle(const Url& url) {
  for (size_t i = idle_.size(); i-- > 0;) {
    if (!idle_[i]->serves(url)) continue;
    std::unique_ptr<HttpConnection> out = std::move(idle_[i]);
    idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
    return out;
  }
  return nullptr;
}

void HttpClient::keep(std::unique_ptr<HttpConnection> connection) {
  // Bytes that nobody asked for would be taken for the next answer.
  if (!connection->pending().empty()) return;
  idle_.push_back(std::move(connection));
  if (idle_.size() > limits::kMaxIdleConnections) idle_.erase(idle_.begin());
}

Result<std::string> HttpClient::request_head(const HttpRequest& request, const Hop& hop) const {
  HttpFields fields;
  fields.add("Host", hop.url.authority());
  fields.add("User-Agent", options_.user_agent);
  fields.add("Accept", "*/*");
  fields.add("Accept-Encoding", "identity");
  for (const HttpField& field : request.fields) fields.add(field.name, field.value);
  SPLITD_ASSIGN(std::string head, make_request_head(request.method, hop.url.target(), fields));
  if (!hop.with_bearer) return head;
  const std::string_view token = request.bearer->reveal();
  for (const char c : token) {
    if (c <= 0x20 || c >= 0x7f) return usage_error("the token has characters no token has");
  }
  std::string with_token;
  with_token.reserve(head.size() + token.size() + 32);  // growing would leave copies behind
  with_token.append(head, 0, head.size() - 2).append("Authorization: Bearer ").append(token);
  with_token.append("\r\n\r\n");
  return with_token;
}

// One request on one connection up to the answer's head. *unanswered: not a byte came back.
Result<HttpResponse> HttpClient::exchange(const HttpRequest& request, const Hop& hop,
                                          std::unique_ptr<HttpConnection> connection,
                                          bool* unanswered) {
  const Wait wait = Wait::for_at_most(options_.connect.timeouts.head, request.cancel);
  const AnswerTo kind = request.method == "HEAD" ? AnswerTo::head : AnswerTo::get;
  *unanswered = true;
  SPLITD_ASSIGN(std::string head, request_head(request, hop));
  const Status sent = connection->send(head, wait);
  Secret::wipe(head);
  if (!sent.ok()) return sent.error();
  HttpResponse response(this, std::move(connection), kind, request, hop.url);
  while (!response.parser_.head_done()) {
    HttpConnection& from = *response.connection_;
    if (from.pending().empty()) {
      SPLITD_ASSIGN(const bool more, from.receive(wait));
      if (!more) return response.parser_.end_of_stream().error();
    }
    *unanswered = false;
    SPLITD_ASSIGN(const size_t used, response.parser_.parse_head(from.pending()));
    from.consume(used);
  }
  if (response.status() == 101) return peer_error("switches protocols unasked");
  const std::optional<std::string_view> coding = response.fields().find("Content-Encoding");
  if (coding && !equal_ignoring_case(*coding, "identity")) {
    return peer_error("a body encoded as " + quoted(*coding) + " was not asked for");
  }
  return response;
}

Result<HttpResponse> HttpClient::attempt(const HttpRequest& request, const Hop& hop,
                                         bool* permanent) {
  *permanent = false;
  while (std::unique_ptr<HttpConnection> idle = take_idle(hop.url)) {
    bool unanswered = false;
    Result<HttpResponse> response = exchange(request, hop, std::move(idle), &unanswered);
    // The server may have closed it since: that is no failure, a fresh connection decides.
    const bool stale = !response && unanswered && response.error().kind == ErrorKind::peer;
    if (!stale) return response;
  }
  SPLITD_ASSIGN(std::unique_ptr<HttpConnection> fresh,
                HttpConnection::open(hop.url, options_.connect, request.cancel, permanent));
  bool unanswered = false;
  return exchange(request, hop, std::move(fresh), &unanswered);
}

// How long to wait before the request is repeated; nothing: the answer stands.
std::optional<milliseconds> HttpClient::pause_after(const HttpResponse& response,
                                                    Backoff& backoff) const {
  if (!is_transient_status(response.status())) return std::nullopt;
  const std::optional<milliseconds> own = backoff.next();
  if (!own) return std::nullopt;
  const auto wanted = retry_after(response.fields(), std::chrono::system_clock::now());
  if (!wanted) return own;
  if (*wanted > options_.retry.retry_after_most) return std::nullopt;
  return std::max(*own, *wanted);
}

Status HttpClient::follow(const HttpRequest& request, const HttpResponse& response,
                          Hop& hop) const {
  const std::string what = hop.url.shown();
  if (static_cast<int>(hop.history.size()) >= options_.max_redirects) {
    return peer_error("more than " + std::to_string(options_.max_redirects) +
                      " redirects, the last at " + what);
  }
  const std::optional<std::string_view> location = response.fields().find("Location");
  if (!location || response.fields().count("Location") > 1) {
    return peer_error(what + ": a redirect needs exactly one Location");
  }
  Result<Url> next = resolve_url(hop.url, *location);
  if (!next) {
    return peer_error(what + ": redirect to a bad URL: " + next.error().message);
  }
  if (hop.url.secure() && !next->secure()) {
    return peer_error(what + ": redirect from https to http refused: " + next->shown());
  }
  hop.history.push_back(response.head());
  // Once the token stayed behind it stays there, wherever the chain leads.
  hop.with_bearer = hop.with_bearer && same_origin(*next, request.url);
  hop.url = std::move(next).value();
  return {};
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    return usage_error("HTTP method " + request.method + " cannot be repeated safely");
  }
  Hop hop{request.url, request.bearer != nullptr && !request.bearer->empty(), {}};
  if (hop.with_bearer && !request.url.secure() && !is_loopback(request.url.host)) {
    return usage_error("refusing to send a token over plain http to " + request.url.host);
  }
  Backoff backoff(options_.retry);
  while (true) {
    const std::string what = request.method + " " + hop.url.shown();
    bool permanent = false;
    std::optional<milliseconds> pause;
    std::string reason;
    Result<HttpResponse> response = attempt(request, hop, &permanent);
    if (!response) {
      if (!permanent && response.error().kind == ErrorKind::peer) pause = backoff.next();
      if (!pause) return response.take_error().within(what);
      reason = response.error().message;
    } else {
      const int status = response->status();
      const bool redirect =
          status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
      if (!redirect) pause = pause_after(*response, backoff);
      if (!redirect && !pause) {
        response->history_ = std::move(hop.history);
        return response;
      }
      if (redirect) SPLITD_TRY(follow(request, *response, hop));
      response->drain();
      if (redirect) continue;
      reason = "status " + std::to_string(status);
    }
    options_.log.info(what + ": " + reason + "; again in " + std::to_string(pause->count()) +
                      " ms");
    Status slept = sleep_for(*pause, {Clock::time_point::max(), request.cancel});
    if (!slept.ok()) return slept.take_error().within(what);
  }
}

Status use_proxy_from_environment(HttpConnectOptions& options) {
  const auto first_of = [](std::initializer_list<const char*> names) -> std::string {
    for (const char* name : names) {
      const char* value = std::getenv(name);
      if (value != nullptr && *value != '\0') return value;
    }
    return {};
  };
  std::string proxy = first_of({"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"});
  options.no_proxy = first_of({"NO_PROXY", "no_proxy"});
  if (proxy.empty()) return {};
  if (proxy.find("://") == std::string::npos) proxy.insert(0, "http://");
  Result<Url> url = parse_url(proxy);
  if (!url) return url.take_error().within("HTTPS_PROXY");
  options.proxy = std::move(url).value();
  return {};
}

}  // namespace splitd::net

#include "net/http_connection.h"

#include "net/tcp.h"
#include "net/text.h"

namespace splitd::net {

bool bypasses_proxy(std::string_view no_proxy, const std::string& host) {
  if (is_loopback(host)) return true;
  while (!no_proxy.empty()) {
    const size_t comma = std::min(no_proxy.find(','), no_proxy.size());
    std::string_view entry = trim_blanks(no_proxy.substr(0, comma));
    no_proxy.remove_prefix(std::min(comma + 1, no_proxy.size()));
    if (entry == "*") return true;
    if (entry.starts_with('.')) entry.remove_prefix(1);
    if (entry.empty() || entry.size() > host.size()) continue;
    const size_t before = host.size() - entry.size();
    if (!equal_ignoring_case(std::string_view(host).substr(before), entry)) continue;
    if (before == 0 || host[before - 1] == '.') return true;
  }
  return false;
}

Result<std::unique_ptr<HttpConnection>> HttpConnection::open(const Url& url,
                                                             const HttpConnectOptions& options,
                                                             const Cancellation* cancel,
                                                             bool* permanent) {
  *permanent = true;
  if (url.secure() && !options.tls) return usage_error("https is needed, but TLS was not set up");
  const bool by_proxy =
      options.proxy && url.secure() && !bypasses_proxy(options.no_proxy, url.host);
  const Url& first = by_proxy ? *options.proxy : url;
  if (by_proxy && first.secure()) {
    return usage_error("the proxy " + first.shown() + " is not an http:// one");
  }
  *permanent = false;
  const Wait connecting = Wait::for_at_most(options.timeouts.connect, cancel);
  SPLITD_ASSIGN(std::unique_ptr<Transport> transport,
                tcp_connect(first.host, first.port, connecting));
  std::unique_ptr<HttpConnection> out(new HttpConnection(std::move(transport), url));
  if (by_proxy) SPLITD_TRY(out->ask_proxy(Wait::for_at_most(options.timeouts.head, cancel)));
  if (!url.secure()) return out;
  SPLITD_ASSIGN(std::unique_ptr<TlsStream> tls,
                options.tls->open(std::move(out->transport_), url.host));
  const Status greeted = tls->handshake(Wait::for_at_most(options.timeouts.tls_handshake, cancel));
  *permanent = tls->refused();
  if (!greeted.ok()) return greeted.error();
  out->transport_ = std::move(tls);
  return out;
}

Status HttpConnection::ask_proxy(const Wait& wait) {
  const std::string target = host_port(origin_.host, origin_.port);
  HttpFields fields;
  fields.add("Host", target);
  SPLITD_ASSIGN(const std::string head, make_request_head("CONNECT", target, fields));
  SPLITD_TRY(send(head, wait));
  HttpResponseParser parser(AnswerTo::connect);
  while (!parser.head_done()) {
    if (pending().empty()) {
      SPLITD_ASSIGN(const bool more, receive(wait));
      if (!more) return parser.end_of_stream();
    }
    SPLITD_ASSIGN(const size_t used, parser.parse_head(pending()));
    consume(used);
  }
  if (parser.head().status / 100 != 2) {
    return peer_error("the proxy " + peer() + " answers " + std::to_string(parser.head().status) +
                      " to CONNECT " + target);
  }
  // TLS speaks second here: whoever sends first is not the host that was asked for.
  if (!pending().empty()) return peer_error("the proxy " + peer() + " sent bytes of its own");
  return {};
}

Result<bool> HttpConnection::receive(const Wait& wait) {
  begin_ = 0;
  end_ = 0;
  if (ended_) return false;
  if (!failed_.ok()) return failed_.error();
  SPLITD_ASSIGN(end_, read_some(*transport_, buffer_, wait));
  // A TLS record is a quarter of the buffer: take what else is there already. What stops that is
  // kept for the next call: a transport need not say it twice.
  while (end_ > 0 && end_ < buffer_.size()) {
    Result<Io> io = transport_->try_read(std::span(buffer_).subspan(end_));
    if (!io) {
      failed_ = io.take_error();
      break;
    }
    ended_ = io->end;
    if (io->bytes == 0) break;
    end_ += io->bytes;
  }
  return end_ > 0;
}

}  // namespace splitd::net

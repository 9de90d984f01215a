#include "net/upgrade.h"

#include "net/text.h"
#include "net/websocket.h"

namespace splitd::net {
namespace {

RequestVerdict refuse(int status, std::string reason) {
  RequestVerdict out;
  out.status = status;
  out.reason = std::move(reason);
  return out;
}

RequestVerdict judge_upgrade(const HttpRequestHead& head) {
  const HttpFields& fields = head.fields;
  if (head.method != "GET" || head.minor_version != 1) {
    return refuse(400, "an upgrade is a GET of HTTP/1.1");
  }
  if (!fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "Upgrade")) {
    return refuse(400, "the only upgrade here is to websocket");
  }
  if (head.target != kWebSocketPath) return refuse(404, "WebSocket is at /ws");
  if (fields.count("Sec-WebSocket-Version") != 1 || *fields.find("Sec-WebSocket-Version") != "13") {
    RequestVerdict out = refuse(426, "WebSocket version 13 is spoken here");
    out.fields.add("Sec-WebSocket-Version", "13");
    return out;
  }
  if (fields.count("Sec-WebSocket-Key") != 1 ||
      !is_websocket_key(*fields.find("Sec-WebSocket-Key"))) {
    return refuse(400, "Sec-WebSocket-Key must be 16 bytes in base64, once");
  }
  RequestVerdict out = refuse(101, "");
  out.fields.add("Upgrade", "websocket");
  out.fields.add("Connection", "Upgrade");
  out.fields.add("Sec-WebSocket-Accept", websocket_accept(*fields.find("Sec-WebSocket-Key")));
  return out;
}

}  // namespace

RequestVerdict judge_request(const HttpRequestHead& head, const BodyDecoder& body) {
  if (head.fields.find("Origin")) {
    return refuse(403, "requests of web pages (with an Origin) are refused");
  }
  if (!body.done()) return refuse(413, "requests with a body are refused");
  if (head.fields.find("Upgrade")) return judge_upgrade(head);
  if (head.method != "GET" && head.method != "HEAD") {
    RequestVerdict out = refuse(405, "GET and HEAD are answered");
    out.fields.add("Allow", "GET, HEAD");
    return out;
  }
  if (head.target == kWebSocketPath) {
    RequestVerdict out = refuse(426, "this is for WebSocket");
    out.fields.add("Upgrade", "websocket");
    out.fields.add("Connection", "Upgrade");
    return out;
  }
  RequestVerdict out = refuse(200, "");
  out.probe = true;
  return out;
}

Result<std::string> make_upgrade_request(const std::string& host, const std::string& key) {
  HttpFields fields;
  fields.add("Host", host);
  fields.add("Upgrade", "websocket");
  fields.add("Connection", "Upgrade");
  fields.add("Sec-WebSocket-Key", key);
  fields.add("Sec-WebSocket-Version", "13");
  return make_request_head("GET", kWebSocketPath, fields);
}

Status check_upgrade_answer(const HttpResponseHead& head, std::string_view key) {
  const HttpFields& fields = head.fields;
  if (head.status != 101 && fields.lists("Upgrade", kUpgradeToTls)) {
    return peer_error("the peer speaks TLS only: a key or certificate is needed here too");
  }
  if (head.status != 101) {
    return peer_error("the peer answered the WebSocket upgrade with HTTP status " +
                      std::to_string(head.status) + " instead of 101");
  }
  if (!fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "Upgrade")) {
    return peer_error("the peer upgraded to something else than WebSocket");
  }
  if (fields.count("Sec-WebSocket-Accept") != 1 ||
      *fields.find("Sec-WebSocket-Accept") != websocket_accept(key)) {
    return peer_error("the peer's Sec-WebSocket-Accept does not fit our key");
  }
  if (fields.find("Sec-WebSocket-Extensions") || fields.find("Sec-WebSocket-Protocol")) {
    return peer_error("the peer agreed to a WebSocket extension or protocol that was not offered");
  }
  return {};
}

}  // namespace splitd::net

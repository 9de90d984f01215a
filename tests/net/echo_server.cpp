#include "tests/net/echo_server.h"

#include <gtest/gtest.h>

#include <cstring>

#include "net/control.h"

namespace splitd::net {

EchoServer::EchoServer(ServerOptions options) {
  Result<std::unique_ptr<LoopThread>> thread = LoopThread::start();
  EXPECT_TRUE(thread.ok());
  thread_ = std::move(*thread);
  ServerEvents events;
  events.opened = [this](const std::shared_ptr<Connection>& connection) {
    const std::lock_guard lock(mutex_);
    opened_.push_back(connection->identity() + " " + std::string(connection->transport_name()));
    last_ = connection;
  };
  events.message = [this](const std::shared_ptr<Connection>& connection, const Frame& frame) {
    return answer(connection, frame);
  };
  events.http = [](const HttpRequest& request) {
    if (request.target != "/healthz") return HttpAnswer{404, "text/plain", "not here\n"};
    return HttpAnswer{200, "text/plain", "ok\n"};
  };
  events.closed = [this](const std::shared_ptr<Connection>&, const Error& why) {
    const std::lock_guard lock(mutex_);
    closed_.push_back(why.message);
  };
  thread_->run_and_wait([&] {
    Result<std::unique_ptr<Server>> server =
        Server::listen(thread_->loop(), std::move(options), std::move(events));
    EXPECT_TRUE(server.ok()) << server.error().message;
    if (server.ok()) server_ = std::move(*server);
  });
}

EchoServer::~EchoServer() {
  thread_->run_and_wait([&] { server_.reset(); });
}

Status EchoServer::answer(const std::shared_ptr<Connection>& connection, const Frame& frame) {
  const std::string_view type = message_type(frame.header);
  if (type == "hello") {
    connection->admit({limits::kMaxFrameHeaderBytes, kMaxPayload});
    (void)connection->send(R"({"type":"welcome"})");
    return {};
  }
  if (type == "bye") {
    connection->close();
    return {};
  }
  if (type != "echo") return peer_error("an unknown message");
  messages.fetch_add(1);
  if (stop_answering) return {};
  (void)connection->send_filled(R"({"type":"echo"})", frame.payload.size(),
                                [&](std::span<std::byte> room) {
                                  if (room.empty()) return;
                                  std::memcpy(room.data(), frame.payload.data(), room.size());
                                });
  return {};
}

std::vector<std::string> EchoServer::opened() const {
  const std::lock_guard lock(mutex_);
  return opened_;
}
std::vector<std::string> EchoServer::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}
std::shared_ptr<Connection> EchoServer::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace splitd::net

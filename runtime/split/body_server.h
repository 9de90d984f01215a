// Owns: a body on the network: its listener, the peers behind its connections, probes (/healthz,
// /readyz, /metrics), and the order in which it all ends. Everything happens on the loop's thread,
// except drain(). A listener with TLS shows /metrics to authenticated peers alone.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>

#include "net/loop.h"
#include "net/server.h"
#include "runtime/split/body.h"

namespace splitd {

struct BodyServerOptions {
  net::ServerOptions net = {};
  BodyOptions body = {};
  std::chrono::milliseconds drain{30'000};  // what sessions get to finish
};

class BodyServer {
 public:
  static Result<std::unique_ptr<BodyServer>> start(net::Loop& loop, BodyModel model,
                                                   BodyServerOptions options);
  ~BodyServer();  // on the loop's thread, or after its run()
  BodyServer(const BodyServer&) = delete;
  BodyServer& operator=(const BodyServer&) = delete;

  const std::string& address() const { return server_->address(); }
  uint16_t port() const { return server_->port(); }
  Body& body() { return *body_; }
  net::ServerCounters counters() const { return server_->counters(); }

  // Any thread: nothing new begins; once all sessions have ended, or options.drain is over, the
  // loop stops.
  void drain();

 private:
  using Connection = std::shared_ptr<net::Connection>;

  BodyServer(net::Loop& loop, BodyServerOptions options);
  net::ServerEvents events();
  void opened(const Connection& connection);
  void closed(const Connection& connection);
  net::HttpAnswer answer(const net::HttpRequest& request) const;
  TrafficCounters traffic() const;
  void tick();

  net::Loop& loop_;
  const BodyServerOptions options_;
  std::unordered_map<uint64_t, Connection> connections_;  // those that opened
  uint64_t bytes_in_ = 0;                                 // of those that closed
  uint64_t bytes_out_ = 0;
  net::Timer timer_;
  bool ending_ = false;
  net::Clock::time_point ends_at_;
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<Body> body_;  // first to go: its compute thread sends to connections
};

}  // namespace splitd

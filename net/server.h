// Owns: the accepting end: listener, connections, their channels, timers and caps, on one Loop.
// Refuses: more connections than the caps (before hello the OLDEST of an address goes), peers too
// slow to shake hands, to say hello, to answer a ping or to take what is sent. Events come on the
// loop's thread. send(), unsent_bytes() and close() of a Connection may be called from any thread;
// a reply is then written from the thread that has it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/channel.h"
#include "net/loop.h"
#include "runtime/base/log.h"

namespace splitd::net {

class Server;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // --- Any thread
  uint64_t id() const;              // never reused
  const std::string& peer() const;  // "192.0.2.1:5555"
  // Whom budgets count: "psk:NAME", "cert:NAME"; without TLS "addr:192.0.2.1".
  const std::string& identity() const;
  std::string_view transport_name() const;

  // False when the connection is gone (its `closed` came or will). Small messages are encrypted and
  // written by the caller, large ones by the loop.
  bool send(std::string_view header, std::span<const std::byte> payload = {});
  // `fill(std::span<std::byte>)` writes the payload where it is sent from. It must not call back.
  template <class Fill>
  bool send_filled(std::string_view header, size_t payload_bytes, Fill&& fill) {
    const Sending sending(*this, header, payload_bytes);
    if (!sending.open) return false;
    fill(sending.payload);
    return true;
  }
  uint64_t unsent_bytes() const;
  // Sends what is queued, says goodbye and ends; a peer that does not read gets kCloseLinger.
  void close(CloseCode code = CloseCode::normal);
  bool is_open() const;
  uint64_t bytes_in() const;
  uint64_t bytes_out() const;

  // --- The loop's thread
  // The hello was good: no longer under the caps and deadlines of strangers. Frames may now be this
  // large.
  void admit(FrameLimits limits);
  bool admitted() const;
  // The owner's; dropped with the connection.
  std::shared_ptr<void> context;

  ~Connection();

  struct State;  // server_state.h

 private:
  friend class Server;
  explicit Connection(std::unique_ptr<State> state);
  struct Sending {  // locks; sends on destruction
    Sending(Connection& connection, std::string_view header, size_t payload_bytes);
    ~Sending();
    Connection& connection;
    bool open = false;
    std::span<std::byte> payload;
  };
  std::unique_ptr<State> state_;
};

struct HttpAnswer {
  int status = 404;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

struct ServerEvents {
  // Messages may be sent; the peer is who identity() says.
  std::function<void(const std::shared_ptr<Connection>&)> opened;
  // The frame lives as long as the call. An error closes the connection; its text is logged.
  std::function<Status(const std::shared_ptr<Connection>&, const Frame&)> message;
  std::function<HttpAnswer(const HttpRequest&)> http;
  // After `opened` only, once. The connection is gone already.
  std::function<void(const std::shared_ptr<Connection>&, const Error& why)> closed;
};

struct ServerCounters {
  uint64_t accepted = 0;
  uint64_t refused = 0;    // closed before hello, for whatever reason
  size_t connections = 0;  // now
  size_t strangers = 0;    // of these, before hello
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  std::shared_ptr<TlsContext> tls;  // null: plain
  std::string congestion;           // "bbr"; empty: the system's
  FrameLimits before_hello{limits::kMaxHelloBytes, 0};
  size_t max_connections = limits::kMaxConnections;
  size_t max_strangers = limits::kMaxStrangers;
  size_t max_strangers_per_address = limits::kMaxStrangersPerAddress;
  milliseconds hello_timeout = limits::kHello;
  milliseconds ping_after = limits::kPingAfterSilence;
  milliseconds pong_timeout = limits::kPong;
  uint64_t unsent_limit = limits::kUnsentBytes;
  milliseconds unsent_timeout = limits::kUnsent;
  Log log;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> listen(Loop& loop, ServerOptions options,
                                                ServerEvents events);
  ~Server();  // closes everything without further events; on the loop's thread or after run()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  const std::string& address() const;  // "127.0.0.1:7777", as bound
  void stop_accepting();
  ServerCounters counters() const;

  struct State;  // server_state.h

 private:
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace splitd::net

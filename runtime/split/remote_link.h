// Owns: reaching a body: connecting to one of several equal addresses, hello and welcome, and how
// long a lost one is looked for. Knows which refusals are worth another try. One thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/client.h"
#include "net/tls_context.h"
#include "runtime/base/log.h"
#include "runtime/base/result.h"
#include "runtime/split/protocol.h"

namespace splitd {

struct BodyAddress {
  std::string host;
  uint16_t port = 0;

  std::string text() const;  // "host:port", "[::1]:port"
};

// "host:port", "[v6]:port". Port 0 for who listens: the system chooses.
[[nodiscard]] Result<BodyAddress> parse_body_address(std::string_view text, bool to_listen = false);

// A body whose results may differ in their last bits from those of the one before.
[[nodiscard]] Error drifted(const BodyAddress& body, std::string_view arith,
                            std::string_view before);

struct RemoteOptions {
  std::vector<BodyAddress> bodies;  // equal ones: whichever answers
  std::shared_ptr<net::TlsContext> tls;
  bool websocket = false;
  std::string congestion;  // of TCP; empty: the system's
  WireType wire = WireType::f16;
  std::optional<KvType> kv;   // nothing: as the body keeps them
  std::optional<bool> exact;  // --compute; nothing: as the body computes
  std::chrono::milliseconds retry_for{60'000};
  bool allow_drift = false;  // another arith may take over
  Log log;
};

// A connection that has been welcomed.
struct BodyLink {
  std::shared_ptr<net::Client> client;
  WelcomeMessage welcome;
};

class BodyFinder {
 public:
  BodyFinder(net::LoopThread& io, const RemoteOptions& options) : io_(io), options_(options) {}

  // Asks each address once, beginning with the one that answered last.
  [[nodiscard]] Result<BodyLink> find(const HelloMessage& hello, const net::Wait& wait);
  // …and again, with growing pauses, for as long as a lost body is retried. `why` is what went
  // wrong with the connection before.
  [[nodiscard]] Result<BodyLink> find_again(const HelloMessage& hello, const Error& why,
                                            const net::Cancellation& cancel);

  // The connection that a question was answered on: the next hello goes over it, without another
  // handshake.
  void keep(std::shared_ptr<net::Client> asked) { asked_ = std::move(asked); }

  // Whether the last refusal would be the same again, or nobody wants to try.
  bool is_final() const { return final_; }
  const BodyAddress& address() const { return options_.bodies[current_]; }

 private:
  Result<BodyLink> greet(const BodyAddress& address, const HelloMessage& hello,
                         const net::Wait& wait);
  Result<BodyLink> introduce(const BodyAddress& address, std::shared_ptr<net::Client> client,
                             const HelloMessage& hello, const net::Wait& wait);
  Result<BodyLink> welcomed(std::shared_ptr<net::Client> client, const HelloMessage& hello,
                            const net::Frame& frame);

  net::LoopThread& io_;
  const RemoteOptions& options_;
  std::shared_ptr<net::Client> asked_;  // to address()
  bool answered_ = false;               // the last hello, with whatever
  size_t current_ = 0;
  bool final_ = false;  // the last refusal will be the same next time
  MessageReader reader_;
  JsonWriter json_;
};

}  // namespace splitd

// Owns: reaching a body: connecting to one of several equal addresses, hello and welcome, and how
// long a lost one is looked for. Knows which failures are worth another try. One thread at a time.
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

  // Before there was a session. What a body says ends it, and so does an address where nobody is;
  // a connection that breaks before the answer is tried again.
  [[nodiscard]] Result<BodyLink> find_first(const HelloMessage& hello,
                                            const net::Cancellation& cancel);
  // Afterwards: a body that had one is there at once, or is looked for.
  [[nodiscard]] Result<BodyLink> find_next(const HelloMessage& hello,
                                           const net::Cancellation& cancel);
  // With growing pauses, for as long as a lost body is retried. `why` is what went wrong with the
  // connection before.
  [[nodiscard]] Result<BodyLink> find_again(const HelloMessage& hello, const Error& why,
                                            const net::Cancellation& cancel);

  // The connection that a question was answered on: the next hello goes over it, without another
  // handshake.
  void keep(std::shared_ptr<net::Client> asked) { asked_ = std::move(asked); }

  const BodyAddress& address() const { return options_.bodies[current_]; }

 private:
  // Asks each address once, beginning with the one that answered last.
  Result<BodyLink> find(const HelloMessage& hello, const net::Wait& wait);
  // …and again, in turns with pauses, after `link` where that failed. An error that is not worth
  // another try ends it, and so does `end`, after the last one.
  Result<BodyLink> ask_until(net::Clock::time_point end, Result<BodyLink> link,
                             const HelloMessage& hello, const net::Cancellation& cancel,
                             bool opening);
  bool is_worth_another(bool opening) const;
  Result<BodyLink> greet(const BodyAddress& address, const HelloMessage& hello,
                         const net::Wait& wait);
  Result<BodyLink> introduce(const BodyAddress& address, std::shared_ptr<net::Client> client,
                             const HelloMessage& hello, const net::Wait& wait);
  Result<BodyLink> welcomed(std::shared_ptr<net::Client> client, const HelloMessage& hello,
                            const net::Frame& frame);

  net::LoopThread& io_;
  const RemoteOptions& options_;
  std::shared_ptr<net::Client> asked_;  // to address()
  size_t current_ = 0;
  bool known_ = false;  // somebody has said welcome
  // What became of the last find(), where that failed; while it runs, of the address at hand.
  struct Failure {
    bool lost = false;      // the connection broke before the answer
    bool answered = false;  // or there was one
    bool for_good = false;  // it would be the same next time, or nobody wants to try
  } failure_;
  MessageReader reader_;
  JsonWriter json_;
};

}  // namespace splitd

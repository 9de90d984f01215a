// Owns: one session on a body, as seen from here: the connection, the steps in flight with their
// bytes, and what is needed to take the session up again on another connection.
// submit() may be called while another thread is in next(); otherwise one thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/stage.h"
#include "runtime/split/protocol.h"
#include "runtime/split/remote_link.h"
#include "runtime/split/wire.h"

namespace splitd {

struct RemoteTraffic {
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
  uint64_t n_reconnect = 0;
  std::optional<double> rtt_ms;  // the shortest ping
  // Steps that were alone in flight, with rows: from submit() to the end of next(), and of that
  // what the body says it took.
  uint64_t n_step = 0;
  double step_ms = 0;
  double body_ms = 0;

  void add(const RemoteTraffic& other);
};

class RemoteSession {
 public:
  RemoteSession(BodyFinder& finder, const RemoteOptions& options, const Wire& wire,
                HelloMessage hello, BodyLink link);
  ~RemoteSession();

  Status submit(const StageRequest& request);
  Status next(Deadline deadline, StageReply& reply);
  RemoteTraffic traffic() const;
  const std::string& arith() const { return arith_; }

 private:
  struct Step {
    uint32_t seq = 0;
    RowId first = 0;
    uint32_t n_row = 0;
    bool alone = false;  // nothing else was in flight
    std::string header;
    std::vector<std::byte> payload;
    net::Clock::time_point submitted;
  };
  using Lock = std::unique_lock<std::mutex>;

  Step& step(uint32_t seq) { return steps_[seq % kReplyWindow]; }
  void send(const Step& step);
  void drop(Error why);
  Status reconnect(Lock& lock);
  Result<bool> take(const net::Frame& frame, StageReply& reply);
  Status take_rows(const RowsMessage& message, std::span<const std::byte> payload,
                   StageReply& reply);
  void answered(Step& step, double body_ms);
  void answer_lost(StageReply& reply);

  BodyFinder& finder_;
  const RemoteOptions& options_;
  const Wire wire_;
  HelloMessage hello_;
  std::string arith_;
  uint32_t window_;
  uint32_t max_rows_;

  mutable std::mutex mutex_;                         // guards what follows
  std::shared_ptr<net::Client> client_;              // null: not connected
  Error lost_connection_;                            // why, while not connected
  std::unique_ptr<net::Cancellation> reconnecting_;  // while next() looks for a body
  std::optional<Error> failed_;                      // the session cannot go on
  bool lost_ = false;                                // the body has forgotten it
  std::array<Step, kReplyWindow> steps_;
  uint32_t delivered_ = 0;  // the last seq whose reply next() has given
  uint32_t last_ = 0;       // the last seq submitted
  JsonWriter json_;
  RemoteTraffic traffic_;  // of connections that are gone

  // Of who is in next().
  MessageReader reader_;
  std::vector<RowId> dead_;
};

}  // namespace splitd

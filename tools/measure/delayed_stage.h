// Owns: a stage behind a link of given round trip and rate, on one machine and without a network:
// replies are held until they would have come. What a link does beyond delay and rate (losses,
// congestion control) is not here: measure that on a link.
// A stage that computes in next() is asked for everything at once and its time is counted as a
// machine's of its own, which begins when the request is there: it computes while others work.
// As thread-safe as any stage; set_link() while nothing is in flight.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>

#include "runtime/engine/stage.h"

namespace splitd::cli {

struct Link {
  double rtt_ms = 0;
  double mbit = 0;  // each way; 0: no limit
};

struct LinkUse {  // so far
  double rtt_ms = 0;
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
  uint64_t n_step = 0;  // that were alone in flight; of those:
  double step_ms = 0;   // from submit to reply
  double body_ms = 0;   // of which the stage inside
};

class DelayedStage final : public Stage {
 public:
  enum class Inner : uint8_t { computes_in_next, elsewhere };

  // `d_model` says how large rows are on the way (f16).
  DelayedStage(std::unique_ptr<Stage> inner, Inner kind, uint32_t d_model)
      : inner_(std::move(inner)), kind_(kind), d_model_(d_model) {}

  void set_link(const Link& link) { link_ = link; }
  LinkUse use() const;

  Result<SessionId> open(const KvShape& shape) override { return inner_->open(shape); }
  Status submit(SessionId session, const StageRequest& request) override;
  Status next(SessionId session, Deadline deadline, StageReply& reply) override;
  void close(SessionId session) override;
  bool takes_bulk() const override { return inner_->takes_bulk(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Trip {  // of a request and its reply
    SessionId session = 0;
    Clock::time_point submitted;
    Clock::time_point there;  // but for half a round trip
    Clock::time_point due{};  // when the reply is seen
    uint64_t bytes_up = 0;
    bool alone = true;
    bool is_back = false;
    StageReply reply{};
  };

  uint64_t frame_bytes(size_t n_row) const { return 160 + n_row * (2 * size_t{d_model_} + 5); }
  Clock::duration on_line(uint64_t n_byte) const;
  Trip* oldest(SessionId session, bool is_back);
  Status fetch(SessionId session, Deadline deadline);

  std::unique_ptr<Stage> inner_;
  const Inner kind_;
  const uint32_t d_model_;
  Link link_;

  mutable std::mutex mutex_;  // guards what follows
  std::deque<std::unique_ptr<Trip>> trips_;
  Clock::time_point up_free_{}, down_free_{}, body_free_{};
  LinkUse use_;
};

}  // namespace splitd::cli

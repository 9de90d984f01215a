// Owns: a stage that computes here, with one backend and all of its layers, for many sessions. Rows
// of different sessions share a forward pass (continuous batching). Either next() computes, on the
// thread of whoever wants a reply, or a loop of its own calls step(); both at once is fine.
//
// Requests and replies (DESIGN §3), exactly:
//   one reply for each submit that succeeded, in the order of submits
//   the next seq             computed; or refused: an error reply, nothing changed, the seq is used
//                            up and the row ids are not
//   seq in (ack, last] again its reply again, from memory, whatever the request says
//   a seq already acked, a gap, an ack of a reply that next() has not given, more than kReplyWindow
//   replies not acked        an error reply with that seq; no seq is used up, nothing changes
//   rows that are not finite after a layer: an error of ErrorKind::model that names the layer. No
//                            refusal: the rows exist and hold garbage until they are cut off
//   error text "lost: …"     is_lost(): a window no longer reaches so far back; rewind 0 and replay
//
// A bulk chunk is a batch of its own where the backend takes it as one, all of it while any of its
// rows lives, in turns with the batches of what else there is to do.
//
// A batch that has begun is finished, as other sessions depend on it, unless all of its rows have
// died: a deadline that passes meanwhile makes next() late by up to one batch. To cancel, submit a
// rewind from another thread: it is effective within one layer, on a GPU within a quarter of
// them (runtime/engine/cuda/cuda_graphs.h).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/aligned_buffer.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/fair_share.h"
#include "runtime/engine/local_stage_session.h"
#include "runtime/engine/stage.h"

namespace splitd {

// A request of more rows is a piece of a prompt: it may wait for what others decode.
inline constexpr size_t kMostStepRows = 64;

struct LocalStageOptions {
  // How long a batch may take where several sessions are open, by what was measured: whatever steps
  // are ready and as many rows of prompts as fit. 0: as long as it takes.
  double batch_ms = 0;
  // The clock that batches are measured by; tests bring their own.
  std::chrono::steady_clock::time_point (*now)() = std::chrono::steady_clock::now;
};

struct BatchFacts {
  uint32_t n_session = 0;
  uint32_t n_row = 0;
  double ms = 0;
};

class LocalStage final : public Stage {
 public:
  // The backend must outlive the stage and be called by nobody else meanwhile.
  explicit LocalStage(Backend& backend, LocalStageOptions options = {});
  // Requires that no call is running.
  ~LocalStage() override;

  // Waits for the batch that runs now.
  Result<SessionId> open(const KvShape& shape) override;
  Status submit(SessionId session, const StageRequest& request) override;
  // A deadline in the past asks without computing.
  Status next(SessionId session, Deadline deadline, StageReply& reply) override;
  void close(SessionId session) override;
  bool takes_bulk() const override { return backend_.takes_bulk(); }

  // ---- For whoever serves sessions to others.

  // A session of `owner`: where a batch cannot hold all rows, every owner gets what brings it to
  // the same computing time as the others, by what was measured, however many sessions it has and
  // however deep its rows lie. By itself a session is its own.
  Result<SessionId> open(const KvShape& shape, std::string_view owner);
  // A request that was found wrong before it came here: it takes its place in the order and is
  // answered with this error.
  Status submit_refused(SessionId session, const StageRequest& request, Error why);
  // The next reply, if it is there; computes nothing.
  bool try_next(SessionId session, StageReply& reply);
  // Whoever asked is gone: replies that next() has not given are kept, but owed no more.
  void disown(SessionId session);
  // While held, its requests wait.
  void hold(SessionId session, bool held);

  // Computes one batch. False: there is nothing to do, or another thread is at it.
  bool step();
  // What the last step() on this thread computed.
  const BatchFacts& last_batch() const { return last_batch_; }
  // Until step() would do something. False: the deadline came first.
  bool wait_for_work(Deadline deadline);

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Origin {  // of a batch's row
    StageSession* session;
    uint32_t row;  // of its current request
  };

  StageOwner& owner_of(std::string_view name);
  void leave_owner(StageSession& session);
  Status check_content(const StageRequest& request) const;
  Status accept(SessionId session, const StageRequest& request, const Status& content);
  StageSession* find(SessionId session) const;
  bool may_compute() const { return !computing_ && n_opening_ == 0; }
  bool any_work() const;
  void pick_sessions();
  bool step(Lock& lock);

  void prepare(StageSession& session, Lock& lock);
  // local_stage_share.cpp
  double reach_of(uint32_t position) const;
  bool take_bulk();
  size_t take_steps();
  void claim_rows();
  void share_out();
  bool was_cut_short(size_t i) const { return takes_[i] < wants_[i]; }
  void pace(double ms);
  void charge(bool completed, double ms);

  void add_rows(StageSession& session, size_t n_row);
  bool compute();
  bool is_alive(const Origin& row) const;
  bool any_alive();
  void check_broken(size_t i, const float* input);
  void settle(bool completed);

  Backend& backend_;
  const LocalStageOptions options_;
  const size_t d_model_;
  const uint32_t max_rows_;  // of a batch
  uint32_t window_ = 0;      // the smallest of the layers
  uint32_t reach_ = 0;       // the most rows that one attends to in any layer; 0: all

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a reply is there, there is work, a session ended

  // Guarded by mutex_.
  std::map<SessionId, std::unique_ptr<StageSession>> sessions_;
  std::map<std::string, StageOwner, std::less<>> owners_;  // of those, by name
  std::vector<std::unique_ptr<StageSession>> closing_;     // closed while running
  SessionId last_session_ = 0;
  SessionId turn_ = 0;      // the next batch begins with the session after this one
  uint32_t n_opening_ = 0;  // threads that wait for the backend in open()
  bool computing_ = false;

  // Counts up, under mutex_, when rows died that may be in the batch.
  std::atomic<uint64_t> kills_{0};

  // The computing thread's: whoever set computing_.
  std::vector<StageSession*> running_;
  std::vector<size_t> wants_;  // rows by running session
  std::vector<size_t> takes_;
  size_t paced_rows_ = 32;  // as many take options_.batch_ms
  RowCost cost_;
  std::vector<RowClaim> claims_;
  bool is_uneven_ = false;   // some owners had more time than others
  bool was_bulk_ = false;    // the batch before was a bulk chunk
  bool bulk_waits_ = false;  // one stood aside in this batch
  uint64_t n_bulk_ = 0;      // of them so far
  BatchFacts last_batch_;
  std::vector<BatchRow> batch_;
  std::vector<Origin> origins_;  // by row of the batch
  std::vector<uint32_t> paths_;
  std::vector<size_t> path_begin_;
  AlignedBuffer hidden_;  // (batch, d_model)
  uint64_t kills_seen_ = 0;
  const std::function<bool()> go_on_;
};

}  // namespace splitd

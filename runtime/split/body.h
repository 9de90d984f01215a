// Owns: the far end of a split: sessions over a range of layers for peers that send hidden states
// (DESIGN §3, §6, §8), without sockets. Two threads: the one that brings messages (the event
// loop's) reads, decodes and hands on; the compute thread opens sessions, computes batches that
// sessions share, and sends replies from where it has them. Nothing is allocated for a step.
//
// A connection's life: hello → welcome or error; steps → rows or errors with their seq; close.
// Refused with an error and the end of the connection: what breaks the protocol (and then the
// session ends too), what does not fit this body, what is over a budget, anything new while
// draining. A session whose connection went away is kept until nothing was heard for `idle`; a
// hello with its token, from the same identity, takes it over, also from an older connection.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/kernels.h"
#include "net/limits.h"
#include "runtime/base/log.h"
#include "runtime/split/body_metrics.h"
#include "runtime/split/body_session.h"

namespace splitd {

struct BodyModel {
  ModelConfig config;
  std::string fingerprint;  // 64 hex digits
  LayerRange layers;        // that are served: any part of them
  LayerRange offer;         // what a question is answered with
  const kernels::KernelTable* table = nullptr;
  // Called on the compute thread.
  std::function<Result<BodyBackend>(LayerRange layers, bool exact)> make_backend;
};

struct BodyOptions {
  std::optional<KvType> kv = {};   // nothing: as hello asks, else f16
  std::optional<bool> exact = {};  // nothing: as hello asks, else no
  uint32_t max_ctx = 0;            // rows of a session; 0: what the model was made for
  uint32_t max_pending = 1024;     // … and beside them
  uint32_t max_rows = 512;         // of one step
  Usage most{1024, uint64_t{1} << 32, uint64_t{8} << 30};
  Usage most_of_peer = most;
  std::chrono::milliseconds idle{300'000};
  double batch_ms = 50;                               // DESIGN §8
  uint64_t unsent_limit = net::limits::kUnsentBytes;  // of one connection
  uint64_t unsent_limit_of_all = uint64_t{256} << 20;
  // False: whoever owns the body calls compute(), for tests.
  bool own_thread = true;
  Log log = {};
};

class Body {
 public:
  using Clock = std::chrono::steady_clock;

  // Makes a backend for all that is served, so that a model that cannot be computed is found here.
  static Result<std::unique_ptr<Body>> start(BodyModel model, BodyOptions options);
  ~Body();  // ends the compute thread; peers are left alone

  // ---- The thread that brings messages.
  void message(const std::shared_ptr<BodyPeer>& peer, Json header,
               std::span<const std::byte> payload);
  void closed(const std::shared_ptr<BodyPeer>& peer);
  // Now and then: forgets what was idle for too long, ends what the drain is done with.
  void tick(Clock::time_point now);
  // From here on nothing new begins. Sessions end when they are done, or at `until`.
  void drain(Clock::time_point until);
  bool is_draining() const { return draining_until_.has_value(); }
  bool is_drained() const;  // no session has a connection

  // ---- Any thread.
  BodyMetrics& metrics() { return metrics_; }
  BodyGauges gauges() const;
  const BodyModel& model() const { return model_; }

  // With own_thread off: opens what is asked for, computes one batch of every stage and sends what
  // is there. False: there was nothing to do.
  bool compute();

 private:
  using Peer = std::shared_ptr<BodyPeer>;
  using Session = std::shared_ptr<BodySession>;

  Body(BodyModel model, BodyOptions options);

  // body.cpp
  void on_step(const Peer& peer, std::span<const std::byte> payload);
  void on_close(const Peer& peer);
  bool enqueue(const Peer& peer, const Session& session, Clock::time_point now);
  void refuse(BodyPeer& peer, Refusal code, std::string_view message, bool retry = false);
  void break_off(const Peer& peer, Refusal code, std::string_view message);
  void end(const Session& session, std::string_view why);
  static void disown(BodySession& session);  // requires the mutex
  void log_session(const BodySession& session, std::string_view event,
                   std::string_view more = {}) const;

  // body_hello.cpp
  struct Verdict {
    Refusal code = Refusal::internal;
    std::string message = {};
    bool retry = false;
  };
  void on_hello(const Peer& peer);
  std::optional<Verdict> check_model(const HelloMessage& hello) const;
  std::optional<Verdict> check_compute(const HelloMessage& hello) const;
  std::optional<Verdict> check_session(const HelloMessage& hello) const;
  WelcomeMessage basic_welcome(bool exact) const;
  void answer_question(BodyPeer& peer, const HelloMessage& hello);
  void welcome(const BodySession& session, BodyPeer& peer, bool resumed, JsonWriter& json);
  net::FrameLimits frame_limits(const Wire& wire) const;
  void begin(const Peer& peer, HelloMessage hello);
  Session find(const ResumeToken& token, const std::string& identity) const;  // requires the mutex
  bool resume(const Peer& peer, const HelloMessage& hello);

  // body_compute.cpp, on the compute thread
  Result<std::shared_ptr<BodyEngine>> make_engine(LayerRange layers, bool exact) const;
  Result<std::shared_ptr<BodyEngine>> engine_for(LayerRange layers, bool exact);
  void drop_idle_engines();
  Usage cost_of(const BodySession& session, const Backend& backend) const;
  bool open_sessions();
  void open(const Session& session);
  std::optional<Verdict> open_stage(const Session& session);
  bool hold_back();
  void gather();
  bool somebody_returns(Clock::duration within);
  bool send_replies();
  void send_reply(const BodySession& session, BodyPeer& peer, Clock::time_point arrived);
  void wake();  // any thread
  void wait(uint64_t seen, Clock::time_point until);
  void run();

  const BodyModel model_;
  const BodyOptions options_;
  std::array<std::string, 2> arith_;  // without and with `exact`, before the type of the KV
  std::array<bool, 2> takes_bulk_{};  // …likewise
  BodyMetrics metrics_;

  // The thread that brings messages.
  MessageReader reader_;
  std::vector<float> decoded_;
  JsonWriter json_;
  std::optional<Clock::time_point> draining_until_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Budget budget_;
  std::vector<Session> sessions_;  // open ones
  std::vector<Session> opening_;
  std::vector<Session> busy_;                         // those that are owed replies
  std::vector<std::shared_ptr<BodyEngine>> engines_;  // changed by the compute thread alone
  uint64_t last_number_ = 0;
  bool leaves_memory_ = false;  // a session ended, and the allocator may keep what it had

  // The compute thread.
  std::vector<Session> round_;  // scratch
  StageReply reply_;
  JsonWriter reply_json_;
  bool any_held_ = false;
  std::vector<Session> answered_;  // since the last batch
  Clock::duration last_batch_{0};  // how long it took

  std::atomic<bool> crowded_{false};  // more is unsent than all peers together may leave
  std::atomic<uint64_t> events_{0};   // something may be to do for the compute thread
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stopping_{false};
  std::mutex sleep_mutex_;
  std::condition_variable woken_;
  std::thread thread_;
};

}  // namespace splitd

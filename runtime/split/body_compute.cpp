// The compute thread: opens sessions, computes batches, sends replies.
#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/split/body.h"

namespace splitd {

// Each has buffers for the activations of a batch and gets turns of its own.
static constexpr size_t kMaxEngines = 16;
// Kept although no session uses them: the next one most likely asks for the same layers.
static constexpr size_t kIdleEngines = 1;
// Before it sleeps: a wake-up costs more. Peers often share the machine, so no longer.
static constexpr std::chrono::microseconds kSpin{50};
// While all peers together leave too much unread, one that leaves this much gets no turn.
static constexpr uint64_t kCrowdedBytes = uint64_t{256} << 10;
// How long a batch waits for who is about to return: this part of the batch before, at most so
// long.
static constexpr int kGatherShare = 8;
static constexpr std::chrono::milliseconds kMostGather{2};
// How often somebody is asked who did not read his replies.
static constexpr std::chrono::milliseconds kHeldPoll{5};

// ---- Sessions

Result<std::shared_ptr<BodyEngine>> Body::make_engine(LayerRange layers, bool exact) const {
  auto engine = std::make_shared<BodyEngine>();
  engine->layers = layers;
  engine->exact = exact;
  SPLITD_ASSIGN(engine->computes, model_.make_backend(layers, exact));
  engine->stage = std::make_unique<LocalStage>(*engine->computes.backend,
                                               LocalStageOptions{.batch_ms = options_.batch_ms});
  return engine;
}

Result<std::shared_ptr<BodyEngine>> Body::engine_for(LayerRange layers, bool exact) {
  for (const auto& engine : engines_) {
    if (engine->layers == layers && engine->exact == exact) return engine;
  }
  if (engines_.size() == kMaxEngines) {
    return peer_error("no room: " + std::to_string(kMaxEngines) +
                      " ranges of layers are in use already");
  }
  SPLITD_ASSIGN(std::shared_ptr<BodyEngine> engine, make_engine(layers, exact));
  const std::lock_guard lock(mutex_);
  engines_.push_back(engine);
  return engine;
}

void Body::drop_idle_engines() {
  const std::lock_guard lock(mutex_);
  const auto is_idle = [](const auto& engine) { return engine->n_session == 0; };
  auto n_idle = static_cast<size_t>(std::count_if(engines_.begin(), engines_.end(), is_idle));
  for (auto at = engines_.begin(); n_idle > kIdleEngines && at != engines_.end();) {
    if (is_idle(*at)) {
      at = engines_.erase(at);
      --n_idle;
    } else {
      ++at;
    }
  }
}

// Keys and values; two timelines; and as many rows as replies may be kept of.
Usage Body::cost_of(const BodySession& session, const Backend& backend) const {
  constexpr uint64_t kTimelineBytes = 2 * (sizeof(RowId) + 1);
  constexpr uint64_t kPendingBytes = 128;
  const uint64_t n_ctx = session.hello.n_ctx, max_pending = session.hello.max_pending;
  const uint64_t rows = n_ctx + max_pending;
  const uint64_t kept = kReplyWindow * std::min<uint64_t>(options_.max_rows, rows);
  const KvShape shape{session.hello.n_ctx, session.hello.max_pending, *session.hello.kv};
  return {.sessions = 1,
          .rows = rows,
          .bytes = backend.kv_bytes(shape) + n_ctx * kTimelineBytes + max_pending * kPendingBytes +
                   kept * model_.config.d_model * sizeof(float)};
}

bool Body::open_sessions() {
  bool any = false;
  while (true) {
    Session session;
    {
      const std::lock_guard lock(mutex_);
      if (opening_.empty()) break;
      session = std::move(opening_.front());
      opening_.erase(opening_.begin());
    }
    any = true;
    open(session);
  }
  if (engines_.size() > kIdleEngines) drop_idle_engines();
  return any;
}

void Body::open(const Session& session) {
  const std::optional<Verdict> verdict = open_stage(session);
  Peer peer;
  {
    const std::lock_guard lock(mutex_);
    peer = session->peer;
    if (verdict) session->state = BodySession::State::ended;
  }
  if (verdict) {
    if (peer) refuse(*peer, verdict->code, verdict->message, verdict->retry);
  } else if (peer) {
    metrics_.opened.fetch_add(1, std::memory_order_relaxed);
    welcome(*session, *peer, false, reply_json_);
  } else {  // it left meanwhile: nobody knows the session's token
    end(session, "left");
  }
}

std::optional<Body::Verdict> Body::open_stage(const Session& session) {
  const HelloMessage& hello = session->hello;
  Result<ResumeToken> token = ResumeToken::random();
  if (!token) return Verdict{Refusal::internal, "no random numbers are to be had", true};
  session->token = *token;
  Result<std::shared_ptr<BodyEngine>> engine = engine_for(*hello.layers, *hello.exact);
  if (!engine) {
    const bool full = engine.error().kind == ErrorKind::peer;
    return Verdict{full ? Refusal::full : Refusal::internal, engine.error().message, full};
  }
  session->engine = *engine;
  // As this engine computes: one of other layers, or of another hour, may have had room for more.
  session->arith =
      session->engine->computes.backend->arith() + "/" + std::string(kv_name(*hello.kv));
  session->cost = cost_of(*session, *session->engine->computes.backend);
  {
    const std::lock_guard lock(mutex_);
    if (session->peer == nullptr) return Verdict{};  // it left meanwhile
    if (Status fits = budget_.take(session->identity, session->cost); !fits.ok()) {
      return Verdict{Refusal::full, fits.error().message, true};
    }
  }
  const Result<SessionId> id =
      session->engine->stage->open({hello.n_ctx, hello.max_pending, *hello.kv}, session->identity);
  const std::lock_guard lock(mutex_);
  if (!id || session->peer == nullptr) {
    budget_.give_back(session->identity, session->cost);
    if (!id) return Verdict{Refusal::full, id.error().message, true};
    session->engine->stage->close(*id);
    return Verdict{};
  }
  session->id = *id;
  ++session->engine->n_session;
  session->state = BodySession::State::open;
  session->heard = Clock::now();
  sessions_.push_back(session);
  log_session(
      *session, "open",
      " layers=" + std::to_string(hello.layers->begin) + ":" + std::to_string(hello.layers->end) +
          " wire=" + std::string(wire_name(hello.wire)) + " n_ctx=" + std::to_string(hello.n_ctx) +
          " bytes=" + std::to_string(session->cost.bytes));
  return std::nullopt;
}

// ---- Batches

// Who does not take what was sent to him gets no turn. True: there is somebody like that.
bool Body::hold_back() {
  bool any = false;
  const uint64_t limit = crowded_ ? kCrowdedBytes : options_.unsent_limit;
  const std::lock_guard lock(mutex_);
  for (const Session& session : busy_) {
    if (session->state != BodySession::State::open) continue;
    const bool held = session->peer && session->peer->unsent_bytes() > limit;
    session->engine->stage->hold(session->id, held);
    any = any || held;
  }
  return any;
}

// A session that was just answered often has its next step here at once. Where others wait already,
// a batch with it costs all of them less than one without it and one for it: the weights are read
// once. Who took long to return last time is not waited for, nor is anybody for the sake of one
// session alone.
void Body::gather() {
  const Clock::duration within = std::min<Clock::duration>(last_batch_ / kGatherShare, kMostGather);
  const Clock::time_point until = Clock::now() + within;
  while (!stopping_) {
    const uint64_t seen = events_.load();
    if (!somebody_returns(within) || Clock::now() >= until) break;
    wait(seen, until);
  }
  answered_.clear();
}

// Somebody waits for a batch, and somebody else is about to.
bool Body::somebody_returns(Clock::duration within) {
  const std::lock_guard lock(mutex_);
  const auto returns = [within](const Session& session) {
    return session->n_in_flight == 0 && session->peer && session->pause <= within;
  };
  return !busy_.empty() && std::any_of(answered_.begin(), answered_.end(), returns);
}

bool Body::compute() {
  bool worked = open_sessions();
  any_held_ = hold_back();
  if (!answered_.empty()) gather();
  for (const auto& engine : engines_) {
    if (!engine->stage->step()) continue;
    worked = true;
    if (const BatchFacts& batch = engine->stage->last_batch(); batch.n_row > 0) {
      metrics_.rows.fetch_add(batch.n_row, std::memory_order_relaxed);
      metrics_.batch_rows.add(batch.n_row);
      metrics_.batch_sessions.add(batch.n_session);
      metrics_.batch_seconds.add(batch.ms / 1e3);
      last_batch_ = std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double, std::milli>(batch.ms));
    }
    send_replies();
  }
  // Repeated steps are answered without computing.
  return send_replies() || worked;
}

bool Body::send_replies() {
  {
    const std::lock_guard lock(mutex_);
    round_.assign(busy_.begin(), busy_.end());
  }
  bool any = false;
  for (const Session& session : round_) {
    while (true) {
      Peer peer;
      Clock::time_point arrived;
      {
        const std::lock_guard lock(mutex_);
        if (session->n_in_flight == 0 || session->state != BodySession::State::open) break;
        if (!session->engine->stage->try_next(session->id, reply_)) break;
        arrived = session->arrivals[session->first_arrival % kReplyWindow];
        ++session->first_arrival;
        --session->n_in_flight;
        session->replied = Clock::now();
        peer = session->peer;
      }
      any = true;
      answered_.push_back(session);
      send_reply(*session, *peer, arrived);
    }
  }
  round_.clear();
  const std::lock_guard lock(mutex_);
  std::erase_if(busy_, [](const Session& session) {
    session->is_busy = session->state == BodySession::State::open && session->n_in_flight > 0;
    return !session->is_busy;
  });
  return any;
}

void Body::send_reply(const BodySession& session, BodyPeer& peer, Clock::time_point arrived) {
  const std::chrono::duration<double> took = Clock::now() - arrived;
  metrics_.steps.fetch_add(1, std::memory_order_relaxed);
  metrics_.step_seconds.add(took.count());
  if (reply_.error) {
    ErrorMessage message = message_of(*reply_.error);
    message.seq = reply_.seq;
    metrics_.refusals[static_cast<size_t>(message.code)].fetch_add(1, std::memory_order_relaxed);
    write_error(reply_json_, message);
    peer.send(reply_json_.text(), 0, nullptr, nullptr);
    return;
  }
  const auto n_row = static_cast<uint32_t>(reply_.ids.size());
  write_rows(reply_json_, {reply_.seq, n_row, reply_.dead, took.count() * 1e3});
  struct Rows {
    const Wire& wire;
    const std::vector<float>& values;
  } rows{session.wire, reply_.rows};
  peer.send(
      reply_json_.text(), session.wire.bytes(n_row),
      [](void* context, std::span<std::byte> payload) {
        const Rows& from = *static_cast<const Rows*>(context);
        if (from.values.empty() || from.wire.encode(from.values, payload).ok()) return;
        // Beyond what the wire type holds (the rows were finite). The header is on its way, so the
        // payload must say so: bytes that every wire type refuses as not finite.
        std::memset(payload.data(), 0xff, payload.size());
      },
      &rows);
}

// ---- The thread

void Body::wake() {
  events_.fetch_add(1);
  if (!sleeping_.load()) return;
  const std::lock_guard lock(sleep_mutex_);
  woken_.notify_one();
}

void Body::wait(uint64_t seen, Clock::time_point until) {
  const Clock::time_point begin = Clock::now();
  do {
    for (int i = 0; i < 32; ++i) {
      if (events_.load(std::memory_order_relaxed) != seen) return;
    }
  } while (Clock::now() - begin < kSpin);
  std::unique_lock lock(sleep_mutex_);
  sleeping_ = true;
  woken_.wait_until(lock, until, [&] { return events_.load() != seen; });
  sleeping_ = false;
}

void Body::run() {
  while (!stopping_) {
    const uint64_t seen = events_.load();
    if (compute()) continue;
    wait(seen, any_held_ ? Clock::now() + kHeldPoll : Clock::time_point::max());
  }
}

}  // namespace splitd

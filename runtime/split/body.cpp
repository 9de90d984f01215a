// Messages in, and how sessions end.
#include "runtime/split/body.h"

#include <algorithm>
#include <utility>

#include "runtime/base/memory.h"

namespace splitd {

// While draining, a session that sent nothing for so long is between two texts: a step's round trip
// is far shorter.
static constexpr std::chrono::milliseconds kDrainQuiet{5'000};

Body::Body(BodyModel model, BodyOptions options)
    : model_(std::move(model)),
      options_(std::move(options)),
      budget_(options_.most, options_.most_of_peer) {}

Result<std::unique_ptr<Body>> Body::start(BodyModel model, BodyOptions options) {
  if (options.max_ctx == 0) {
    options.max_ctx = static_cast<uint32_t>(std::min<uint64_t>(model.config.n_ctx, INT32_MAX / 2));
  }
  options.max_rows = std::clamp(options.max_rows, 1u, kMostFrameRows);
  std::unique_ptr<Body> body(new Body(std::move(model), std::move(options)));
  for (const bool exact : {false, true}) {
    SPLITD_ASSIGN(const auto engine, body->make_engine(body->model_.layers, exact));
    body->arith_[exact ? 1 : 0] = engine->computes.backend->arith();
    body->takes_bulk_[exact ? 1 : 0] = engine->stage->takes_bulk();
  }
  if (body->options_.own_thread) {
    body->thread_ = std::thread([&here = *body] { here.run(); });
  }
  return body;
}

Body::~Body() {
  stopping_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
  // Sessions and connections that have not parted hold each other.
  for (std::vector<Session>* sessions : {&sessions_, &opening_}) {
    for (const Session& session : *sessions) {
      const Peer peer = std::move(session->peer);
      if (peer != nullptr) peer->session.reset();
    }
  }
}

// ---- Messages

void Body::message(const Peer& peer, Json header, std::span<const std::byte> payload) {
  Status status = reader_.read(header);
  if (!status.ok()) return break_off(peer, Refusal::bad_request, status.error().message);
  if (reader_.type() != MessageType::step && !payload.empty()) {
    return break_off(peer, Refusal::bad_request,
                     std::string(reader_.type_name()) + ": only steps carry a payload");
  }
  switch (reader_.type()) {
    case MessageType::hello:
      return on_hello(peer);
    case MessageType::step:
      return on_step(peer, payload);
    case MessageType::close:
      return on_close(peer);
    case MessageType::welcome:
    case MessageType::rows:
    case MessageType::error:
      return break_off(peer, Refusal::bad_request,
                       std::string(reader_.type_name()) + ": a body sends these, it takes none");
  }
}

void Body::on_step(const Peer& peer, std::span<const std::byte> payload) {
  const Clock::time_point now = Clock::now();
  const Session session = peer->session;
  if (session == nullptr) {
    return break_off(peer, Refusal::bad_request, "a step before the welcome");
  }
  Result<StageRequest> step = reader_.step();
  if (!step) return break_off(peer, Refusal::bad_request, step.error().message);
  const uint32_t n_row = step->timeline.append ? step->timeline.append->n_row : 0;
  if (n_row > options_.max_rows) {
    return break_off(peer, Refusal::too_large,
                     "a step of " + std::to_string(n_row) + " rows; at most " +
                         std::to_string(options_.max_rows) + " are accepted");
  }
  if (const uint64_t bytes = session->wire.bytes(n_row); payload.size() != bytes) {
    return break_off(peer, Refusal::bad_request,
                     "a payload of " + std::to_string(payload.size()) + " bytes; " +
                         std::to_string(n_row) + " rows of wire type " +
                         std::string(wire_name(session->wire.type())) + " have " +
                         std::to_string(bytes));
  }
  decoded_.resize(size_t{n_row} * model_.config.d_model);
  const Status decoded = session->wire.decode(payload, decoded_);
  if (!enqueue(peer, session, now)) return;
  // Numbers that are not finite use their seq up, like anything that a stage refuses.
  step->rows = decoded_;
  LocalStage& stage = *session->engine->stage;
  const Status submitted = decoded.ok() ? stage.submit(session->id, *step)
                                        : stage.submit_refused(session->id, *step, decoded.error());
  if (!submitted.ok()) return break_off(peer, Refusal::bad_request, submitted.error().message);
  wake();
}

// Room for one more reply. False: the connection has lost its session, or just did.
bool Body::enqueue(const Peer& peer, const Session& session, Clock::time_point now) {
  bool too_many = false;
  {
    const std::lock_guard lock(mutex_);
    if (session->state == BodySession::State::ended || session->peer != peer) return false;
    if (session->state == BodySession::State::open) {
      session->heard = now;
      too_many = session->n_in_flight == kReplyWindow;
      if (session->n_in_flight == 0) session->pause = now - session->replied;
      if (!too_many) {
        const uint32_t at = session->first_arrival + session->n_in_flight++;
        session->arrivals[at % kReplyWindow] = now;
        if (!session->is_busy) busy_.push_back(session);
        session->is_busy = true;
        return true;
      }
    }
  }
  break_off(peer, Refusal::bad_request,
            too_many ? "more than " + std::to_string(kReplyWindow) + " steps are not answered yet"
                     : "a step before the welcome");
  return false;
}

void Body::on_close(const Peer& peer) {
  if (const Session session = std::exchange(peer->session, nullptr)) end(session, "closed");
  peer->close();
}

void Body::closed(const Peer& peer) {
  const Session session = std::exchange(peer->session, nullptr);
  if (session == nullptr) return;
  const std::lock_guard lock(mutex_);
  if (session->peer != peer) return;
  session->peer = nullptr;
  if (session->state != BodySession::State::open) return;
  disown(*session);
  log_session(*session, "detached");
}

// ---- Ends

// The replies that are owed to the session's connection are nobody's any more.
void Body::disown(BodySession& session) {
  session.n_in_flight = 0;
  session.engine->stage->disown(session.id);
  session.engine->stage->hold(session.id, false);
}

void Body::end(const Session& session, std::string_view why) {
  {
    const std::lock_guard lock(mutex_);
    const bool was_open = session->state == BodySession::State::open;
    session->state = BodySession::State::ended;
    session->peer = nullptr;
    leaves_memory_ = true;
    if (!was_open) return;  // the compute thread finds it so
    const auto at = std::find(sessions_.begin(), sessions_.end(), session);
    std::swap(*at, sessions_.back());
    sessions_.pop_back();
    --session->engine->n_session;
    budget_.give_back(session->identity, session->cost);
    log_session(*session, why);
  }
  session->engine->stage->close(session->id);  // may free much memory: not under the mutex
  wake();
}

void Body::refuse(BodyPeer& peer, Refusal code, std::string_view message, bool retry) {
  metrics_.refusals[static_cast<size_t>(code)].fetch_add(1, std::memory_order_relaxed);
  options_.log.debug("event=refused peer=" + peer.identity + " code=" +
                     std::string(refusal_name(code)) + " message=\"" + std::string(message) + "\"");
  JsonWriter json;
  write_error(json, {std::nullopt, code, std::string(message), retry});
  peer.send(json.text(), 0, nullptr, nullptr);
  peer.close();
}

// The peer broke the protocol: what it had is gone.
void Body::break_off(const Peer& peer, Refusal code, std::string_view message) {
  if (const Session session = std::exchange(peer->session, nullptr)) end(session, "broken");
  refuse(*peer, code, message);
}

void Body::tick(Clock::time_point now) {
  struct Ending {
    Session session;
    Peer peer;
    bool idle;
  };
  std::vector<Ending> endings;
  uint64_t unsent = 0;
  bool is_left = false;
  {
    const std::lock_guard lock(mutex_);
    is_left = leaves_memory_ && sessions_.empty() && opening_.empty();
    if (is_left) leaves_memory_ = false;
    for (const Session& session : sessions_) {
      if (session->peer) unsent += session->peer->unsent_bytes();
      const auto silence = now - session->heard;
      const bool waits = session->n_in_flight == 0;
      const bool idle = waits && silence > options_.idle;
      const bool drained = draining_until_ && session->peer &&
                           (now >= *draining_until_ || (waits && silence > kDrainQuiet));
      if (idle || drained) endings.push_back({session, session->peer, idle});
    }
  }
  crowded_ = unsent > options_.unsent_limit_of_all;
  if (is_left) give_back_memory();
  for (const Ending& ending : endings) {
    end(ending.session, ending.idle ? "expired" : "drained");
    if (ending.idle) metrics_.expired.fetch_add(1, std::memory_order_relaxed);
    if (ending.peer == nullptr) continue;
    ending.peer->session = nullptr;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.idle).count();
    if (ending.idle) {
      refuse(*ending.peer, Refusal::idle,
             "nothing was heard for " + std::to_string(seconds) + " s: the session is forgotten",
             true);
    } else {
      refuse(*ending.peer, Refusal::draining, "this body is about to stop", true);
    }
  }
}

void Body::drain(Clock::time_point until) {
  draining_until_ = until;
}

bool Body::is_drained() const {
  const std::lock_guard lock(mutex_);
  return opening_.empty() && std::none_of(sessions_.begin(), sessions_.end(),
                                          [](const Session& s) { return s->peer != nullptr; });
}

BodyGauges Body::gauges() const {
  const std::lock_guard lock(mutex_);
  BodyGauges out;
  for (const Session& session : sessions_) {
    ++(session->peer ? out.attached : out.detached);
    out.in_flight += session->n_in_flight;
  }
  out.engines = engines_.size();
  out.used = budget_.used();
  return out;
}

void Body::log_session(const BodySession& session, std::string_view event,
                       std::string_view more) const {
  options_.log.debug("event=" + std::string(event) + " session=" + std::to_string(session.number) +
                     " peer=" + session.identity + std::string(more));
}

}  // namespace splitd

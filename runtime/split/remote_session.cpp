#include "runtime/split/remote_session.h"

#include <algorithm>
#include <utility>

#include "net/text.h"

namespace splitd {

using net::Clock;

static double ms_of(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

void RemoteTraffic::add(const RemoteTraffic& other) {
  bytes_up += other.bytes_up;
  bytes_down += other.bytes_down;
  n_reconnect += other.n_reconnect;
  if (other.rtt_ms) rtt_ms = std::min(rtt_ms.value_or(*other.rtt_ms), *other.rtt_ms);
  n_step += other.n_step;
  step_ms += other.step_ms;
  body_ms += other.body_ms;
}

static RemoteTraffic traffic_of(const net::Client& client) {
  RemoteTraffic out;
  const net::ClientTraffic traffic = client.traffic();
  out.bytes_up = traffic.bytes_out;
  out.bytes_down = traffic.bytes_in;
  if (const auto rtt = client.min_round_trip()) out.rtt_ms = ms_of(*rtt);
  return out;
}

RemoteSession::RemoteSession(BodyFinder& finder, const RemoteOptions& options, const Wire& wire,
                             HelloMessage hello, BodyLink link)
    : finder_(finder),
      options_(options),
      wire_(wire),
      hello_(std::move(hello)),
      arith_(link.welcome.arith),
      window_(std::min(link.welcome.window, kReplyWindow)),
      max_rows_(std::min(link.welcome.max_rows, kMostFrameRows)),
      client_(std::move(link.client)) {
  hello_.resume = link.welcome.resume;
  client_->set_frame_limits({.max_payload_bytes = wire_.bytes(max_rows_)});
}

RemoteSession::~RemoteSession() {
  if (client_ == nullptr) return;
  write_close(json_);
  (void)client_->send(json_.text());
  client_->close();
}

// A connection that fails here is noticed by next().
void RemoteSession::send(const Step& step) {
  if (client_ == nullptr) return;
  const Status sent = client_->send(step.header, step.payload);
  if (!sent.ok()) drop(sent.error());
}

void RemoteSession::drop(Error why) {
  if (client_ == nullptr) return;
  traffic_.add(traffic_of(*client_));
  client_.reset();
  lost_connection_ = std::move(why);
}

Status RemoteSession::submit(const StageRequest& request) {
  const Clock::time_point now = Clock::now();
  const Lock lock(mutex_);
  if (failed_) return *failed_;
  if (request.seq != last_ + 1) {
    return usage_error("request " + std::to_string(request.seq) + " after " +
                       std::to_string(last_));
  }
  if (last_ - delivered_ >= window_) {
    return usage_error(std::to_string(window_) + " requests are in flight; no more are accepted");
  }
  const std::optional<Frame>& frame = request.timeline.append;
  const uint32_t n_row = frame ? frame->n_row : 0;
  if (n_row > max_rows_) {
    return usage_error("a frame of " + std::to_string(n_row) + " rows; the body takes " +
                       std::to_string(max_rows_));
  }
  Step& step = this->step(request.seq);
  step.payload.resize(wire_.bytes(n_row));
  SPLITD_TRY(wire_.encode(request.rows, step.payload));
  write_step(json_, request);
  step.header.assign(json_.text());
  step.seq = request.seq;
  step.first = frame ? frame->first : 0;
  step.n_row = n_row;
  step.alone = last_ == delivered_;
  step.submitted = now;
  if (!step.alone) this->step(last_).alone = false;
  last_ = request.seq;
  // Who submits while the other thread is connecting wants to cancel.
  if (reconnecting_ != nullptr) reconnecting_->cancel();
  send(step);
  return {};
}

// Takes the session up again where it was, or finds that the body has forgotten it.
Status RemoteSession::reconnect(Lock& lock) {
  const Error why = lost_connection_;
  reconnecting_ = std::make_unique<net::Cancellation>();
  lock.unlock();
  Result<BodyLink> link = finder_.find_again(hello_, why, *reconnecting_);
  lock.lock();
  reconnecting_.reset();
  if (!link) return link.take_error();
  const WelcomeMessage& welcome = link->welcome;
  if (welcome.arith != arith_ && !options_.allow_drift) {
    return drifted(finder_.address(), welcome.arith, arith_);
  }
  client_ = std::move(link->client);
  client_->set_frame_limits({.max_payload_bytes = wire_.bytes(max_rows_)});
  hello_.resume = welcome.resume;
  arith_ = welcome.arith;
  ++traffic_.n_reconnect;
  if (!welcome.resumed && delivered_ != 0) {
    options_.log.info("body " + finder_.address().text() + " does not know the session: replaying");
    lost_ = true;
    return {};
  }
  // What the body has answered already it answers again from memory.
  for (uint32_t seq = delivered_ + 1; seq <= last_; ++seq) send(step(seq));
  return {};
}

void RemoteSession::answer_lost(StageReply& reply) {
  reply.seq = ++delivered_;
  reply.ids.clear();
  reply.dead.clear();
  reply.rows.clear();
  reply.error = peer_error(std::string(kLost) + ": the body has forgotten the session");
}

Status RemoteSession::next(Deadline deadline, StageReply& reply) {
  Lock lock(mutex_);
  while (true) {
    if (failed_) return *failed_;
    if (delivered_ == last_) return usage_error("no reply is owed");
    if (lost_) return answer_lost(reply), Status();
    if (client_ == nullptr) {
      if (Status status = reconnect(lock); !status.ok()) {
        if (status.error().kind != ErrorKind::interrupted) failed_ = status.error();
        return status;
      }
      continue;
    }
    const std::shared_ptr<net::Client> client = client_;
    lock.unlock();
    Result<std::optional<net::Frame>> frame = client->receive_until({deadline, nullptr});
    lock.lock();
    if (!frame) {
      drop(frame.take_error());
      continue;
    }
    if (!frame->has_value()) return no_reply_yet();
    Result<bool> taken = take(**frame, reply);
    client->release();
    if (!taken) {
      failed_ = taken.take_error().within("body " + finder_.address().text());
      return *failed_;
    }
    if (*taken) return {};
  }
}

void RemoteSession::answered(Step& step, double body_ms) {
  delivered_ = step.seq;
  if (!step.alone || step.n_row == 0) return;
  ++traffic_.n_step;
  traffic_.step_ms += ms_of(Clock::now() - step.submitted);
  traffic_.body_ms += body_ms;
}

// One message of the body; whether it is the reply that is waited for. An error ends the session.
Result<bool> RemoteSession::take(const net::Frame& frame, StageReply& reply) {
  SPLITD_TRY(reader_.read(frame.header));
  if (reader_.type() == MessageType::rows) {
    SPLITD_ASSIGN(const RowsMessage rows, reader_.rows());
    SPLITD_TRY(take_rows(rows, frame.payload, reply));
    Step& step = this->step(rows.seq);
    reply.body_ms = rows.ms;
    reply.bytes_up = step.header.size() + step.payload.size();
    reply.bytes_down = frame.payload.size();  // almost
    answered(step, rows.ms);
    return true;
  }
  if (reader_.type() != MessageType::error) {
    return peer_error("sends \"" + std::string(reader_.type_name()) + "\" in a session");
  }
  SPLITD_ASSIGN(ErrorMessage error, reader_.error());
  if (!error.seq) {
    if (!error.retry) return peer_error("ends the session: " + net::quoted(error.message, 400));
    drop(peer_error("the body ends the connection: " + net::quoted(error.message, 400)));
    return false;
  }
  if (*error.seq != delivered_ + 1) {
    return peer_error("answers step " + std::to_string(*error.seq) + " instead of " +
                      std::to_string(delivered_ + 1));
  }
  reply.seq = *error.seq;
  reply.ids.clear();
  reply.dead.clear();
  reply.rows.clear();
  reply.error = error_of(error);
  delivered_ = *error.seq;
  return true;
}

Status RemoteSession::take_rows(const RowsMessage& message, std::span<const std::byte> payload,
                                StageReply& reply) {
  const uint32_t seq = delivered_ + 1;
  if (message.seq != seq) {
    return peer_error("answers step " + std::to_string(message.seq) + " instead of " +
                      std::to_string(seq));
  }
  const Step& step = this->step(seq);
  dead_.assign(message.dead.begin(), message.dead.end());
  std::sort(dead_.begin(), dead_.end());
  reply.seq = seq;
  reply.error.reset();
  reply.ids.clear();
  reply.dead.clear();
  for (uint32_t i = 0; i < step.n_row; ++i) {
    const RowId id = step.first + i;
    const bool dead = std::binary_search(dead_.begin(), dead_.end(), id);
    (dead ? reply.dead : reply.ids).push_back(id);
  }
  if (reply.dead.size() != dead_.size() || reply.ids.size() != message.n_row ||
      payload.size() != wire_.bytes(message.n_row)) {
    return peer_error("answers step " + std::to_string(seq) + " of " + std::to_string(step.n_row) +
                      " rows with " + std::to_string(message.n_row) + " rows, " +
                      std::to_string(message.dead.size()) + " dead ones and " +
                      std::to_string(payload.size()) + " bytes");
  }
  reply.rows.resize(size_t{message.n_row} * wire_.d_model());
  return wire_.decode(payload, reply.rows);
}

RemoteTraffic RemoteSession::traffic() const {
  const Lock lock(mutex_);
  RemoteTraffic out = traffic_;
  if (client_ != nullptr) out.add(traffic_of(*client_));
  return out;
}

}  // namespace splitd

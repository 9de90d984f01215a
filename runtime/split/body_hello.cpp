// What a hello is answered with. Whatever is refused is named with both values.
#include <algorithm>
#include <utility>

#include "runtime/split/body.h"

namespace splitd {
namespace {

std::string text_of(LayerRange layers) {
  return std::to_string(layers.begin) + ":" + std::to_string(layers.end);
}

std::string_view compute_name(bool exact) {
  return exact ? "f32" : "auto";
}

// All that a session is opened with, for comparing and for messages.
std::string terms(const HelloMessage& hello) {
  return "layers " + text_of(*hello.layers) + ", wire " + std::string(wire_name(hello.wire)) +
         ", kv " + std::string(kv_name(*hello.kv)) + ", compute " +
         std::string(compute_name(*hello.exact)) + ", n_ctx " + std::to_string(hello.n_ctx) +
         ", max_pending " + std::to_string(hello.max_pending);
}

// "layers 0 and 27-28": those of `asked` that `have` lacks. Requires that there are some.
std::string missing(LayerRange asked, LayerRange have) {
  const auto span = [](uint32_t begin, uint32_t end) {
    const std::string first = std::to_string(begin);
    return end - begin == 1 ? first : first + "-" + std::to_string(end - 1);
  };
  std::string out;
  if (const uint32_t end = std::min(asked.end, have.begin); asked.begin < end) {
    out = span(asked.begin, end);
  }
  if (const uint32_t begin = std::max(asked.begin, have.end); begin < asked.end) {
    out += (out.empty() ? "" : " and ") + span(begin, asked.end);
  }
  return out;
}

}  // namespace

void Body::on_hello(const Peer& peer) {
  if (peer->session != nullptr) {
    return break_off(peer, Refusal::bad_request, "a second hello on one connection");
  }
  Result<HelloMessage> read = reader_.hello();
  if (!read) return refuse(*peer, Refusal::bad_request, read.error().message);
  HelloMessage hello = std::move(*read);
  const bool question = hello.n_ctx == 0;
  std::optional<Verdict> verdict = check_model(hello);
  if (!verdict) verdict = check_compute(hello);
  if (!verdict && !question) verdict = check_session(hello);
  if (verdict) return refuse(*peer, verdict->code, verdict->message, verdict->retry);
  if (!hello.kv) hello.kv = options_.kv.value_or(KvType::f16);
  if (!hello.exact) hello.exact = options_.exact.value_or(false);
  if (question) return answer_question(*peer, hello);
  if (!hello.resume.empty() && resume(peer, hello)) return;
  if (is_draining()) {
    constexpr std::string_view kWhy = "this body is about to stop and opens no session";
    return refuse(*peer, Refusal::draining, kWhy, true);
  }
  begin(peer, std::move(hello));
}

std::optional<Body::Verdict> Body::check_model(const HelloMessage& hello) const {
  if (hello.version != kProtocolVersion) {
    return Verdict{Refusal::version, "protocol version " + std::to_string(hello.version) +
                                         "; this body speaks " + std::to_string(kProtocolVersion)};
  }
  // Who only asks need not have a model.
  if (hello.fingerprint.empty() && hello.n_ctx == 0) return std::nullopt;
  if (hello.fingerprint != model_.fingerprint) {
    return Verdict{Refusal::model,
                   "another model, or other weights: fingerprint " +
                       (hello.fingerprint.empty() ? "is missing" : hello.fingerprint) +
                       "; this body has " + model_.fingerprint};
  }
  const uint32_t d_model = model_.config.d_model;
  if (hello.d_model != d_model && hello.n_ctx != 0) {
    return Verdict{Refusal::model, "d_model " + std::to_string(hello.d_model) + "; this body has " +
                                       std::to_string(d_model)};
  }
  return std::nullopt;
}

std::optional<Body::Verdict> Body::check_compute(const HelloMessage& hello) const {
  if (hello.kv && options_.kv && *hello.kv != *options_.kv) {
    return Verdict{Refusal::compute, "kv " + std::string(kv_name(*hello.kv)) +
                                         "; this body keeps " + std::string(kv_name(*options_.kv))};
  }
  if (hello.exact && options_.exact && *hello.exact != *options_.exact) {
    return Verdict{Refusal::compute, "compute " + std::string(compute_name(*hello.exact)) +
                                         "; this body computes " +
                                         std::string(compute_name(*options_.exact))};
  }
  return std::nullopt;
}

std::optional<Body::Verdict> Body::check_session(const HelloMessage& hello) const {
  if (!hello.layers || hello.layers->begin == hello.layers->end) {
    return Verdict{Refusal::layers,
                   "no layers are asked for; this body serves " + text_of(model_.layers)};
  }
  if (const std::string lacks = missing(*hello.layers, model_.layers); !lacks.empty()) {
    return Verdict{Refusal::layers, "layers " + text_of(*hello.layers) + "; this body serves " +
                                        text_of(model_.layers) + " and lacks " + lacks};
  }
  const auto too_many = [](std::string_view what, uint32_t asked, uint32_t most) {
    return Verdict{Refusal::too_large, std::string(what) + " " + std::to_string(asked) +
                                           "; this body gives a session at most " +
                                           std::to_string(most)};
  };
  if (hello.n_ctx > options_.max_ctx) return too_many("n_ctx", hello.n_ctx, options_.max_ctx);
  if (hello.max_pending > options_.max_pending) {
    return too_many("max_pending", hello.max_pending, options_.max_pending);
  }
  return std::nullopt;
}

WelcomeMessage Body::basic_welcome(bool exact) const {
  WelcomeMessage out;
  out.fingerprint = model_.fingerprint;
  out.d_model = model_.config.d_model;
  out.max_rows = options_.max_rows;
  out.bulk = takes_bulk_[exact ? 1 : 0] && options_.max_rows >= kBulkRows;
  out.idle_s = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(options_.idle).count());
  return out;
}

// What there is to have.
void Body::answer_question(BodyPeer& peer, const HelloMessage& hello) {
  WelcomeMessage message = basic_welcome(*hello.exact);
  message.layers = model_.offer;
  message.arith = arith_[*hello.exact ? 1 : 0] + "/" + std::string(kv_name(*hello.kv));
  message.n_ctx = options_.max_ctx;
  message.max_pending = options_.max_pending;
  write_welcome(json_, message);
  peer.send(json_.text(), 0, nullptr, nullptr);
}

void Body::welcome(const BodySession& session, BodyPeer& peer, bool resumed, JsonWriter& json) {
  WelcomeMessage message = basic_welcome(*session.hello.exact);
  message.layers = *session.hello.layers;
  message.arith = session.arith;
  message.bulk = message.bulk && session.engine->stage->takes_bulk();
  message.n_ctx = session.hello.n_ctx;
  message.max_pending = session.hello.max_pending;
  message.resume = session.token.hex();
  message.resumed = resumed;
  write_welcome(json, message);
  peer.send(json.text(), 0, nullptr, nullptr);
}

net::FrameLimits Body::frame_limits(const Wire& wire) const {
  return {.max_payload_bytes = wire.bytes(options_.max_rows)};
}

// The session is opened by the compute thread, which says welcome.
void Body::begin(const Peer& peer, HelloMessage hello) {
  const Wire wire(*model_.table, hello.wire, model_.config.d_model);
  auto session = std::make_shared<BodySession>(std::move(hello), wire);
  session->identity = peer->identity;
  session->arith =
      arith_[*session->hello.exact ? 1 : 0] + "/" + std::string(kv_name(*session->hello.kv));
  session->peer = peer;
  session->heard = Clock::now();
  peer->session = session;
  peer->admit(frame_limits(wire));
  {
    const std::lock_guard lock(mutex_);
    session->number = ++last_number_;
    opening_.push_back(std::move(session));
  }
  wake();
}

// A session that another identity opened is as unknown as one that never was.
Body::Session Body::find(const ResumeToken& token, const std::string& identity) const {
  for (const Session& session : sessions_) {
    if (session->token == token && session->identity == identity) return session;
  }
  return nullptr;
}

// False: the token is unknown.
bool Body::resume(const Peer& peer, const HelloMessage& hello) {
  Peer older;
  Session session;
  {
    const std::lock_guard lock(mutex_);
    session = find(ResumeToken::of_hex(hello.resume), peer->identity);
    if (session == nullptr) return false;
    if (terms(session->hello) == terms(hello)) {
      older = std::exchange(session->peer, peer);
      session->heard = Clock::now();
      disown(*session);
    }
  }
  if (session->peer != peer) {
    refuse(*peer, Refusal::bad_request,
           "resume with " + terms(hello) + "; the session has " + terms(session->hello));
    return true;
  }
  if (older != nullptr) {
    older->session = nullptr;
    metrics_.replaced.fetch_add(1, std::memory_order_relaxed);
    refuse(*older, Refusal::replaced, "a newer connection has taken the session over");
  }
  metrics_.resumed.fetch_add(1, std::memory_order_relaxed);
  log_session(*session, "resumed");
  peer->session = session;
  peer->admit(frame_limits(session->wire));
  welcome(*session, *peer, true, json_);
  return true;
}

}  // namespace splitd

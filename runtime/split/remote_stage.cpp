#include "runtime/split/remote_stage.h"

#include <utility>

namespace splitd {

RemoteStage::RemoteStage(const kernels::KernelTable& table, std::string fingerprint,
                         uint32_t d_model, RemoteOptions options,
                         std::unique_ptr<net::LoopThread> io)
    : io_(std::move(io)),
      options_(std::move(options)),
      wire_(table, options_.wire, d_model),
      fingerprint_(std::move(fingerprint)),
      finder_(*io_, options_) {}

RemoteStage::~RemoteStage() = default;

Result<std::unique_ptr<RemoteStage>> RemoteStage::create(const kernels::KernelTable& table,
                                                         std::string fingerprint, uint32_t d_model,
                                                         RemoteOptions options) {
  if (options.bodies.empty()) return usage_error("no body: an address is needed");
  SPLITD_ASSIGN(std::unique_ptr<net::LoopThread> io, net::LoopThread::start());
  return std::unique_ptr<RemoteStage>(
      new RemoteStage(table, std::move(fingerprint), d_model, std::move(options), std::move(io)));
}

HelloMessage RemoteStage::hello() const {
  HelloMessage hello;
  hello.fingerprint = fingerprint_;
  hello.layers = layers_;
  hello.d_model = wire_.d_model();
  hello.wire = wire_.type();
  hello.kv = options_.kv;
  hello.exact = options_.exact;
  return hello;
}

Result<BodyLink> RemoteStage::reach(const HelloMessage& hello) {
  net::Cancellation cancel;
  {
    const std::lock_guard lock(mutex_);
    reaching_ = &cancel;
  }
  Result<BodyLink> link =
      arith_.empty() ? finder_.find_first(hello, cancel) : finder_.find_next(hello, cancel);
  const std::lock_guard lock(mutex_);
  reaching_ = nullptr;
  return link;
}

void RemoteStage::interrupt() {
  const std::lock_guard lock(mutex_);
  if (reaching_ != nullptr) reaching_->cancel();
}

Result<WelcomeMessage> RemoteStage::ask() {
  SPLITD_ASSIGN(BodyLink link, reach(hello()));
  finder_.keep(std::move(link.client));
  return std::move(link.welcome);
}

Result<SessionId> RemoteStage::open(const KvShape& shape) {
  HelloMessage hello = this->hello();
  hello.n_ctx = shape.n_ctx;
  hello.max_pending = shape.max_pending;
  SPLITD_ASSIGN(BodyLink link, reach(hello));
  if (!arith_.empty() && arith_ != link.welcome.arith && !options_.allow_drift) {
    return drifted(finder_.address(), link.welcome.arith, arith_);
  }
  arith_ = link.welcome.arith;
  takes_bulk_ = link.welcome.bulk && link.welcome.max_rows >= kBulkRows;
  auto session =
      std::make_unique<RemoteSession>(finder_, options_, wire_, std::move(hello), std::move(link));
  const std::lock_guard lock(mutex_);
  sessions_.emplace(++last_session_, std::move(session));
  return last_session_;
}

RemoteSession* RemoteStage::find(SessionId session) const {
  const std::lock_guard lock(mutex_);
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? nullptr : at->second.get();
}

static Error no_session(SessionId session) {
  return usage_error("session " + std::to_string(session) + " does not exist");
}

Status RemoteStage::submit(SessionId id, const StageRequest& request) {
  RemoteSession* session = find(id);
  return session == nullptr ? no_session(id) : session->submit(request);
}

Status RemoteStage::next(SessionId id, Deadline deadline, StageReply& reply) {
  RemoteSession* session = find(id);
  return session == nullptr ? no_session(id) : session->next(deadline, reply);
}

void RemoteStage::close(SessionId id) {
  std::unique_ptr<RemoteSession> ended;
  const std::lock_guard lock(mutex_);
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return;
  ended = std::move(at->second);
  sessions_.erase(at);
  ended_.add(ended->traffic());
}

RemoteTraffic RemoteStage::traffic() const {
  const std::lock_guard lock(mutex_);
  RemoteTraffic out = ended_;
  for (const auto& [id, session] : sessions_) out.add(session->traffic());
  return out;
}

}  // namespace splitd

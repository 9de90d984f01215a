// Owns: the seam Stage over a network: sessions whose layers run on a body. Connects again and
// resumes by itself; what was in flight is sent again, from the bytes as they were encoded. When
// the body has forgotten the session, every reply owed becomes an error that is_lost() knows: the
// caller opens another one and replays.
// submit() may be called while another thread is in next(), as the seam says; nothing is allocated
// per step once warm.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "kernels/kernels.h"
#include "runtime/base/result.h"
#include "runtime/engine/stage.h"
#include "runtime/split/remote_link.h"
#include "runtime/split/remote_session.h"

namespace splitd {

class RemoteStage final : public Stage {
 public:
  // Nobody is asked yet. `fingerprint` of the whole model, as here.
  static Result<std::unique_ptr<RemoteStage>> create(const kernels::KernelTable& table,
                                                     std::string fingerprint, uint32_t d_model,
                                                     RemoteOptions options);
  ~RemoteStage() override;

  // What the body serves by itself, and its limits. The next open() goes over the same connection.
  Result<WelcomeMessage> ask();
  // Before the first open(): the layers that every session shall have.
  void set_layers(LayerRange layers) { layers_ = layers; }

  Result<SessionId> open(const KvShape& shape) override;
  Status submit(SessionId session, const StageRequest& request) override;
  Status next(SessionId session, Deadline deadline, StageReply& reply) override;
  void close(SessionId session) override;
  bool takes_bulk() const override { return takes_bulk_; }

  // Ends an ask() or open() under way with ErrorKind::interrupted. From any thread.
  void interrupt();

  // Of all sessions so far.
  RemoteTraffic traffic() const;
  // Of the body that was welcomed last; empty before.
  const std::string& arith() const { return arith_; }

 private:
  RemoteStage(const kernels::KernelTable& table, std::string fingerprint, uint32_t d_model,
              RemoteOptions options, std::unique_ptr<net::LoopThread> io);

  HelloMessage hello() const;
  Result<BodyLink> reach(const HelloMessage& hello);
  RemoteSession* find(SessionId session) const;

  std::unique_ptr<net::LoopThread> io_;
  const RemoteOptions options_;
  const Wire wire_;
  const std::string fingerprint_;
  std::optional<LayerRange> layers_;
  BodyFinder finder_;
  std::string arith_;
  bool takes_bulk_ = false;  // that body

  mutable std::mutex mutex_;  // guards what follows
  std::map<SessionId, std::unique_ptr<RemoteSession>> sessions_;
  SessionId last_session_ = 0;
  RemoteTraffic ended_;                    // of sessions that are closed
  net::Cancellation* reaching_ = nullptr;  // while a body is looked for
};

}  // namespace splitd

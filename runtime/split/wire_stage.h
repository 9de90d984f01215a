// Owns: a stage that answers as if its rows had travelled: each row is encoded and decoded on its
// way in and on its way out. What a wire type costs, measured without a network.
// As thread-safe as the stage inside, except that submits come from one thread.
#pragma once

#include <vector>

#include "runtime/engine/stage.h"
#include "runtime/split/wire.h"

namespace splitd {

class WireStage final : public Stage {
 public:
  WireStage(Stage& inner, const Wire& wire) : inner_(inner), wire_(wire) {}

  Result<SessionId> open(const KvShape& shape) override { return inner_.open(shape); }
  Status submit(SessionId session, const StageRequest& request) override;
  Status next(SessionId session, Deadline deadline, StageReply& reply) override;
  void close(SessionId session) override { inner_.close(session); }
  bool takes_bulk() const override { return inner_.takes_bulk(); }

 private:
  Status travel(std::vector<std::byte>& payload, std::span<float> rows) const;

  Stage& inner_;
  const Wire wire_;
  std::vector<float> rows_;           // of submit()
  std::vector<std::byte> up_, down_;  // of submit() and next()
};

}  // namespace splitd

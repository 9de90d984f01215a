// Stages for tests of the loop: one that computes in submit(), so that only the loop is under test,
// and forgets its sessions when it is told to; and a model in three parts.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "runtime/decode/session.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {

class ForgetfulStage final : public Stage {
 public:
  explicit ForgetfulStage(Backend& backend) : backend_(backend) {}

  Result<SessionId> open(const KvShape& shape) override {
    SPLITD_ASSIGN(LayerRun run, LayerRun::open(backend_, backend_.layers(), shape));
    sessions_.emplace(++last_, Open{std::move(run), {}, false});
    return last_;
  }
  Status submit(SessionId id, const StageRequest& request) override {
    Open& session = sessions_.at(id);
    StageReply reply;
    reply.seq = request.seq;
    if (++n_request == forget_at) {
      session.forgotten = true;
      ++n_forgotten;
      forget_at += forget_again;
    }
    if (session.forgotten) {
      reply.error = peer_error("lost: forgotten");
    } else {
      run(session.run, request, reply);
    }
    session.replies.push_back(std::move(reply));
    return {};
  }
  Status next(SessionId id, Deadline, StageReply& reply) override {
    std::deque<StageReply>& replies = sessions_.at(id).replies;
    reply = std::move(replies.front());
    replies.pop_front();
    return {};
  }
  void close(SessionId id) override { sessions_.erase(id); }
  bool takes_bulk() const override { return backend_.takes_bulk(); }

  size_t n_request = 0;
  size_t n_row = 0;
  size_t n_unread = 0;      // of them
  size_t forget_at = 0;     // the request that finds its session forgotten
  size_t forget_again = 0;  // …and another one so many requests later
  size_t n_forgotten = 0;

 private:
  struct Open {
    LayerRun run;
    std::deque<StageReply> replies;
    bool forgotten;
  };

  void run(LayerRun& run, const StageRequest& request, StageReply& reply) {
    reply.rows.assign(request.rows.begin(), request.rows.end());
    Status status = run.run(request.timeline, reply.rows.data(), [] { return true; });
    if (!status.ok()) reply.error = status.take_error();
    for (uint32_t i = 0; request.timeline.append && i < request.timeline.append->n_row; ++i) {
      reply.ids.push_back(request.timeline.append->first + i);
    }
    n_row += reply.ids.size();
    if (request.timeline.append) n_unread += request.timeline.append->n_unread;
  }

  Backend& backend_;
  std::map<SessionId, Open> sessions_;
  SessionId last_ = 0;
};

// Three backends over one model, the body a stage.
struct SplitModel {
  SplitModel(const GoldenModel& model, ThreadPool& pool) {
    const ModelFiles& files = model.files();
    const uint32_t n_layer = files.config().n_layer;
    const kernels::KernelTable& table = *kernels::runnable_tables().back();
    ranges = {LayerRange{0, 1}, {1, n_layer - 1}, {n_layer - 1, n_layer}};
    for (size_t i = 0; i < 3; ++i) {
      weights[i] = std::move(*files.weights(ranges[i], true, true));
      parts[i] = std::move(*make_cpu_backend(files.config(), weights[i], {&table, &pool, true}));
    }
    body = std::make_unique<ForgetfulStage>(*parts[1]);
  }
  Pipeline pipeline() const {
    return {parts[0].get(), ranges[0], body.get(), parts[2].get(), ranges[2]};
  }

  std::array<LayerRange, 3> ranges;
  std::array<ModelWeights, 3> weights;
  std::array<std::unique_ptr<Backend>, 3> parts;
  std::unique_ptr<ForgetfulStage> body;
};

}  // namespace splitd

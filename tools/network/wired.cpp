#include "tools/network/wired.h"

#include <utility>

#include "runtime/engine/local_stage.h"
#include "runtime/split/wire_stage.h"
#include "tools/network/body_flags.h"

namespace splitd::cli {
namespace {

// A body of its own beside what wraps it.
class WiredBody final : public Stage {
 public:
  WiredBody(std::unique_ptr<Backend> backend, const Wire& wire)
      : backend_(std::move(backend)), stage_(*backend_), wired_(stage_, wire) {}

  Result<SessionId> open(const KvShape& shape) override { return wired_.open(shape); }
  Status submit(SessionId session, const StageRequest& request) override {
    return wired_.submit(session, request);
  }
  Status next(SessionId session, Deadline deadline, StageReply& reply) override {
    return wired_.next(session, deadline, reply);
  }
  void close(SessionId session) override { wired_.close(session); }
  bool takes_bulk() const override { return wired_.takes_bulk(); }

 private:
  std::unique_ptr<Backend> backend_;
  LocalStage stage_;
  WireStage wired_;
};

}  // namespace

Result<std::unique_ptr<TextModel>> open_wired(const std::string& path, const EngineOptions& engine,
                                              uint32_t head, uint32_t tail, WireType wire) {
  return TextModel::open(path, engine, [&](LocalModel& model) -> Result<ModelParts> {
    const uint32_t n_layer = model.config().n_layer;
    SPLITD_ASSIGN(const LayerRange between, layers_between(head, tail, n_layer));
    ModelParts parts;
    parts.here = {model.whole()};
    SPLITD_ASSIGN(parts.head, model.backend({{0, head}, true, false}));
    SPLITD_ASSIGN(parts.tail, model.backend({{between.end, n_layer}, false, true}));
    SPLITD_ASSIGN(std::unique_ptr<Backend> middle, model.backend({between, false, false}));
    parts.body = std::make_unique<WiredBody>(std::move(middle),
                                             Wire(model.table(), wire, model.config().d_model));
    parts.pipeline.head = parts.head.get();
    parts.pipeline.head_layers = {0, head};
    parts.pipeline.body = parts.body.get();
    parts.pipeline.tail = parts.tail.get();
    parts.pipeline.tail_layers = {between.end, n_layer};
    parts.pipeline.table = &model.table();
    return parts;
  });
}

}  // namespace splitd::cli

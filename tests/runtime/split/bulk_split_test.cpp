// Bulk chunks on a body: offered in welcome, computed as such when a step says so, refused where
// they are none; a body that knows none is asked for none.
#include <atomic>

#include "runtime/engine/local_stage.h"
#include "runtime/split/remote_stage.h"
#include "tests/runtime/split/served_body.h"

namespace splitd {
namespace {

BodyModel bulk_model(std::shared_ptr<std::atomic<size_t>> n_bulk) {
  class Counted final : public BulkBackend {
   public:
    Counted(Backend& inner, std::shared_ptr<std::atomic<size_t>> count)
        : BulkBackend(inner), count_(std::move(count)) {}
    ~Counted() override { *count_ += n_bulk; }

   private:
    std::shared_ptr<std::atomic<size_t>> count_;
  };
  BodyModel model = whole_number_model();
  model.make_backend = [n_bulk](LayerRange layers, bool) -> Result<BodyBackend> {
    BodyBackend out;
    const std::vector<uint64_t> windows(layers.end - layers.begin);
    const auto inner = std::make_shared<FakeBackend>(windows, layers.begin);
    out.backend = std::make_unique<Counted>(*inner, n_bulk);
    out.weights = inner;
    return out;
  };
  return model;
}

class BulkSplitTest : public testing::Test {
 protected:
  static std::unique_ptr<RemoteStage> remote(const ServedBody& body, const BodyModel& model) {
    RemoteOptions options;
    options.bodies = {{"127.0.0.1", body.port()}};
    options.wire = WireType::f32;
    auto stage = std::move(*RemoteStage::create(*model.table, model.fingerprint,
                                                model.config.d_model, std::move(options)));
    stage->set_layers(model.layers);
    return stage;
  }
  static StageReply ask(Stage& stage, SessionId id, uint32_t seq, RowId first, uint32_t n_row) {
    std::vector<uint32_t> tokens;
    for (uint32_t i = first; i < first + n_row; ++i) tokens.push_back(i * 7 % 250 + 1);
    std::vector<float> rows(2 * tokens.size());
    FakeBackend({0}).embed(tokens, rows.data());
    StageRequest request{.seq = seq, .ack = seq - 1, .timeline = {}, .rows = rows};
    request.timeline.append = Frame{.first = first,
                                    .base = first == 0 ? kNoRow : first - 1,
                                    .n_row = n_row,
                                    .parents = {},
                                    .commit = true,
                                    .bulk = true};
    EXPECT_TRUE(stage.submit(id, request).ok());
    StageReply reply;
    EXPECT_TRUE(stage.next(id, Deadline::max(), reply).ok());
    return reply;
  }
};

TEST_F(BulkSplitTest, OfferedMarkedComputedOrRefused) {
  const auto n_bulk = std::make_shared<std::atomic<size_t>>(0);
  const BodyModel model = bulk_model(n_bulk);
  StageReply got;
  {
    ServedBody body(model);
    const std::unique_ptr<RemoteStage> stage = remote(body, model);
    const SessionId id = *stage->open({1024, 0, KvType::f32});
    EXPECT_TRUE(stage->takes_bulk());
    got = ask(*stage, id, 1, 0, kBulkRows);
    const StageReply refused = ask(*stage, id, 2, kBulkRows, 10);
    ASSERT_TRUE(refused.error);
    EXPECT_NE(refused.error->message.find("bulk: 10 rows"), std::string::npos);
    stage->close(id);
  }
  EXPECT_EQ(*n_bulk, 1u);
  FakeBackend fake(std::vector<uint64_t>(model.config.n_layer));
  BulkBackend bulk(fake);
  LocalStage local(bulk);
  EXPECT_EQ(got.rows, ask(local, *local.open({1024, 0, KvType::f32}), 1, 0, kBulkRows).rows);
}

TEST_F(BulkSplitTest, ABodyWithoutThemOrWithSmallerStepsOffersNone) {
  const BodyModel plain = whole_number_model();
  ServedBody body(plain);
  const std::unique_ptr<RemoteStage> stage = remote(body, plain);
  const SessionId id = *stage->open({1024, 0, KvType::f32});
  EXPECT_FALSE(stage->takes_bulk());
  FakeBackend fake(std::vector<uint64_t>(plain.config.n_layer));
  LocalStage local(fake);
  EXPECT_EQ(ask(*stage, id, 1, 0, kBulkRows).rows,
            ask(local, *local.open({1024, 0, KvType::f32}), 1, 0, kBulkRows).rows);

  const BodyModel model = bulk_model(std::make_shared<std::atomic<size_t>>(0));
  BodyServerOptions small;
  small.body.max_rows = kBulkRows - 1;
  ServedBody small_body(model, small);
  const std::unique_ptr<RemoteStage> to_small = remote(small_body, model);
  ASSERT_TRUE(to_small->open({1024, 0, KvType::f32}));
  EXPECT_FALSE(to_small->takes_bulk());
}

}  // namespace
}  // namespace splitd

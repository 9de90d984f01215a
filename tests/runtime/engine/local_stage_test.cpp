// The rules of local_stage.h, one by one, on a backend that computes whole numbers.
#include "runtime/engine/local_stage.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

using Edit = TimelineRequest::Edit;
using Ids = std::vector<RowId>;

constexpr Deadline kNever = Deadline::max();
constexpr Deadline kNow = Deadline::min();

// A session seen from its client: makes requests with the right numbers unless told otherwise.
class Client {
 public:
  Client(LocalStage& stage, Backend& backend, KvShape shape = {64, 16, KvType::f32})
      : stage_(stage), backend_(backend), id_(*stage.open(shape)) {}

  SessionId id() const { return id_; }
  uint32_t seq = 0, ack = 0;
  RowId next_id = 0;

  std::vector<float> rows(const std::vector<uint32_t>& tokens) const {
    std::vector<float> out(tokens.size() * 2);
    backend_.embed(tokens, out.data());
    return out;
  }
  Status send(const TimelineRequest& timeline, const std::vector<uint32_t>& tokens = {}) {
    const std::vector<float> hidden = rows(tokens);
    return stage_.submit(id_, {++seq, ack, timeline, hidden});
  }
  TimelineRequest frame(const std::vector<uint32_t>& tokens, RowId base, bool commit) {
    TimelineRequest request;
    const auto n_row = static_cast<uint32_t>(tokens.size());
    request.append = Frame{.first = next_id, .base = base, .n_row = n_row, .commit = commit};
    next_id += n_row;
    return request;
  }
  Status append(const std::vector<uint32_t>& tokens, RowId base, bool commit = true) {
    return send(frame(tokens, base, commit), tokens);
  }
  Status keep(RowId id) {
    TimelineRequest request;
    request.edit = Edit::keep;
    request.keep = id;
    return send(request);
  }
  Status rewind(uint32_t n) {
    TimelineRequest request;
    request.edit = Edit::rewind;
    request.rewind = n;
    return send(request);
  }
  StageReply reply(Deadline deadline = kNever) {
    StageReply out;
    const Status status = stage_.next(id_, deadline, out);
    if (!status.ok()) out.error = Error{ErrorKind::peer, "next: " + status.error().message};
    if (status.ok() && !out.error) ack = std::max(ack, out.seq);
    return out;
  }
  std::string refusal() {
    const StageReply got = reply();
    return got.error ? got.error->message : "no error";
  }

 private:
  LocalStage& stage_;
  Backend& backend_;
  SessionId id_;
};

class LocalStageTest : public testing::Test {
 protected:
  FakeBackend fake_{{0, 16, 0}};
  FakeBackend reference_{{0, 16, 0}};
  HookedBackend backend_{fake_, 8};
  LocalStage stage_{backend_};

  // The last n rows of a chain.
  std::vector<float> expected(const std::vector<uint32_t>& tokens, size_t n) {
    const std::vector<float> all = recompute(reference_, tokens);
    return {all.end() - static_cast<std::ptrdiff_t>(2 * n), all.end()};
  }
};

TEST_F(LocalStageTest, ComputesChainsAndTrees) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6, 7}, kNoRow).ok());
  StageReply got = client.reply();
  EXPECT_EQ(got.seq, 1u);
  EXPECT_EQ(got.ids, (Ids{0, 1, 2}));
  EXPECT_EQ(got.rows, expected({5, 6, 7}, 3));
  const int32_t parents[] = {-1, 0, -1, 2};
  TimelineRequest tree = client.frame({8, 9, 10, 11}, 2, false);
  tree.append->parents = parents;
  ASSERT_TRUE(client.send(tree, {8, 9, 10, 11}).ok());
  got = client.reply();
  EXPECT_EQ(got.ids, (Ids{3, 4, 5, 6}));
  std::vector<float> rows = expected({5, 6, 7, 8, 9}, 2);
  const std::vector<float> branch = expected({5, 6, 7, 10, 11}, 2);
  rows.insert(rows.end(), branch.begin(), branch.end());
  EXPECT_EQ(got.rows, rows);
  // The second branch is kept, which moves it, and grows.
  TimelineRequest grow = client.frame({12}, 6, false);
  grow.edit = Edit::keep;
  grow.keep = 6;
  ASSERT_TRUE(client.send(grow, {12}).ok());
  EXPECT_EQ(client.reply().rows, expected({5, 6, 7, 10, 11, 12}, 1));
}

TEST_F(LocalStageTest, RepeatsAreAnsweredFromMemory) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  const StageReply first = client.reply();
  client.ack = 0;
  client.next_id = 9;  // refused: the seq is used up, the rows are not
  ASSERT_TRUE(client.append({7}, 1).ok());
  const std::string refused = client.refusal();
  EXPECT_EQ(refused, "first is 9; the next row is 2");
  client.next_id = 2;
  ASSERT_TRUE(client.append({7}, 1).ok());
  EXPECT_EQ(client.reply().ids, (Ids{2}));
  const size_t n_forward = backend_.batches.size();
  client.ack = 0;
  for (client.seq = 0; client.seq < 3;) ASSERT_TRUE(client.rewind(0).ok());
  const StageReply again = client.reply();
  EXPECT_EQ(again.seq, 1u);
  EXPECT_EQ(again.ids, first.ids);
  EXPECT_EQ(again.rows, first.rows);
  EXPECT_EQ(client.refusal(), refused);
  EXPECT_EQ(client.reply().rows, expected({5, 6, 7}, 1));
  EXPECT_EQ(backend_.batches.size(), n_forward);  // nothing was computed, and nothing rewound:
  ASSERT_TRUE(client.append({8}, 2).ok());
  EXPECT_EQ(client.reply().rows, expected({5, 6, 7, 8}, 1));
}

TEST_F(LocalStageTest, RefusesWrongOrderWithoutUsingASeq) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5}, kNoRow).ok());
  client.reply();
  const auto refusal = [&](uint32_t seq, uint32_t ack) {
    const Status sent = stage_.submit(client.id(), {seq, ack, {}, {}});
    const StageReply got = client.reply();
    EXPECT_EQ(got.seq, seq);
    return got.error ? got.error->message : "no error";
  };
  EXPECT_EQ(refusal(0, 0), "seq 0: the first one is 1");
  EXPECT_EQ(refusal(3, 1), "seq 3: the next one is 2");
  EXPECT_EQ(refusal(2, 2), "ack 2 in seq 2: only an earlier reply can have been seen");
  EXPECT_EQ(refusal(5, 4), "ack 4: the last reply given was 1");
  EXPECT_EQ(refusal(2, 1), "no error");
  EXPECT_EQ(refusal(1, 0), "seq 1: its reply was seen, says ack 1");
  for (uint32_t seq = 3; seq <= 9; ++seq) EXPECT_EQ(refusal(seq, 1), "no error");
  EXPECT_EQ(refusal(10, 1), "seq 10 with ack 1: at most 8 replies are kept");
  EXPECT_EQ(refusal(10, 2), "no error");
}

TEST_F(LocalStageTest, ErrorsKeepTheirPlaceAmongReplies) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  ASSERT_TRUE(client.rewind(7).ok());                            // refused, seq used
  ASSERT_TRUE(stage_.submit(client.id(), {9, 0, {}, {}}).ok());  // a gap
  ASSERT_TRUE(stage_.submit(client.id(), {1, 0, {}, {}}).ok());  // again, before it is computed
  ASSERT_TRUE(client.append({7}, 1).ok());
  EXPECT_EQ(client.reply().ids, (Ids{0, 1}));
  EXPECT_EQ(client.refusal(), "rewind 7: only 2 rows are committed");
  EXPECT_EQ(client.refusal(), "seq 9: the next one is 3");
  EXPECT_EQ(client.reply().rows, expected({5, 6}, 2));
  EXPECT_EQ(client.reply().rows, expected({5, 6, 7}, 1));
}

TEST_F(LocalStageTest, NinthRequestInFlightIsNotTaken) {
  Client client(stage_, fake_);
  for (uint32_t i = 0; i < kReplyWindow; ++i) {
    ASSERT_TRUE(client.append({i}, i == 0 ? kNoRow : i - 1).ok());
  }
  EXPECT_FALSE(client.rewind(0).ok());
  --client.seq;
  for (RowId i = 0; i < kReplyWindow; ++i) EXPECT_EQ(client.reply().ids, (Ids{i}));
  EXPECT_TRUE(client.rewind(0).ok());
  EXPECT_FALSE(client.reply().error);
}

TEST_F(LocalStageTest, RefusesRowsThatDoNotFit) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.send(client.frame({1, 2}, kNoRow, true), {1}).ok());
  EXPECT_EQ(client.refusal(), "rows: 2 values for 2 rows of 2");
  ASSERT_TRUE(client.send({}, {1}).ok());
  EXPECT_EQ(client.refusal(), "rows: 2 values for 0 rows of 2");
  TimelineRequest large;
  large.append = Frame{.first = 0, .base = kNoRow, .n_row = UINT32_MAX, .commit = true};
  ASSERT_TRUE(client.send(large).ok());
  EXPECT_EQ(client.refusal(), "a frame of 4294967295 rows; at most 4096 are accepted");
  client.next_id = 0;
  std::vector<float> rows = client.rows({1, 2});
  rows[3] = -std::numeric_limits<float>::infinity();
  ASSERT_TRUE(
      stage_.submit(client.id(), {++client.seq, 0, client.frame({1, 2}, kNoRow, true), rows}).ok());
  EXPECT_EQ(client.refusal(), "rows: row 1, column 1 is not finite");
  client.next_id = 0;  // none of them changed anything
  ASSERT_TRUE(client.append({5}, kNoRow).ok());
  EXPECT_EQ(client.reply().rows, expected({5}, 1));
}

TEST_F(LocalStageTest, RowsThatDiedBeforeAreNotComputed) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  ASSERT_TRUE(client.append({7, 8}, 1, false).ok());
  TimelineRequest other = client.frame({9}, 1, false);
  other.edit = Edit::rewind;
  other.rewind = 2;
  ASSERT_TRUE(client.send(other, {9}).ok());
  ASSERT_TRUE(client.append({10}, 3, false).ok());  // born dead
  EXPECT_EQ(client.reply().ids, (Ids{0, 1}));
  const StageReply dead = client.reply();
  EXPECT_EQ(dead.ids, Ids());
  EXPECT_EQ(dead.dead, (Ids{2, 3}));
  EXPECT_TRUE(dead.rows.empty());
  EXPECT_EQ(client.reply().rows, expected({5, 6, 9}, 1));
  EXPECT_EQ(client.reply().dead, (Ids{5}));
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{2, 1}));
}

TEST_F(LocalStageTest, ABatchWhoseRowsAllDieIsAbandoned) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  client.reply();
  size_t n_layer = 0;
  backend_.before_layer = [&] {
    if (++n_layer != 2) return;
    ASSERT_TRUE(client.rewind(1).ok());
  };
  ASSERT_TRUE(client.append({7, 8}, 1).ok());
  EXPECT_EQ(client.reply().dead, (Ids{2, 3}));
  EXPECT_EQ(n_layer, 2u);
  EXPECT_EQ(backend_.n_abandoned, 1u);
  EXPECT_FALSE(client.reply().error);
  ASSERT_TRUE(client.append({9}, 0).ok());
  EXPECT_EQ(client.reply().rows, expected({5, 9}, 1));
}

// A keep without new rows, after which nobody wants what is running.
TEST_F(LocalStageTest, AKeepAloneKillsWhatRunsBelowOtherBranches) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  ASSERT_TRUE(client.append({7}, 1, false).ok());
  client.reply();
  client.reply();
  size_t n_layer = 0;
  backend_.before_layer = [&] {
    if (++n_layer != 2) return;
    ASSERT_TRUE(client.keep(2).ok());
  };
  ASSERT_TRUE(client.append({8, 9}, 1, false).ok());
  EXPECT_EQ(client.reply().dead, (Ids{3, 4}));
  EXPECT_EQ(n_layer, 2u);
  EXPECT_EQ(backend_.n_abandoned, 1u);
  EXPECT_FALSE(client.reply().error);
  ASSERT_TRUE(client.append({10}, 2).ok());
  EXPECT_EQ(client.reply().rows, expected({5, 6, 7, 10}, 1));
}

// One branch of the running frame is kept: it is finished, the other one is named dead.
TEST_F(LocalStageTest, AKeepAloneParesDownWhatRuns) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({5}, kNoRow).ok());
  client.reply();
  TimelineRequest tree = client.frame({7, 8, 9, 10}, 0, false);
  const std::vector<int32_t> parents = {-1, -1, 0, 1};
  tree.append->parents = parents;
  size_t n_layer = 0;
  backend_.before_layer = [&] {
    if (++n_layer != 2) return;
    ASSERT_TRUE(client.keep(1).ok());
  };
  ASSERT_TRUE(client.send(tree, {7, 8, 9, 10}).ok());
  const StageReply reply = client.reply();
  EXPECT_EQ(reply.ids, (Ids{1, 3}));
  EXPECT_EQ(reply.dead, (Ids{2, 4}));
  EXPECT_EQ(reply.rows, expected({5, 7, 9}, 2));
  EXPECT_EQ(backend_.n_abandoned, 0u);
}

TEST_F(LocalStageTest, ABatchWithALiveRowIsFinished) {
  Client client(stage_, fake_), other(stage_, fake_);
  ASSERT_TRUE(client.append({5, 6, 7}, kNoRow, false).ok());
  ASSERT_TRUE(other.append({8}, kNoRow).ok());
  bool once = false;
  backend_.before_layer = [&] {
    if (std::exchange(once, true)) return;
    ASSERT_TRUE(client.rewind(0).ok());
  };
  EXPECT_EQ(client.reply().dead, (Ids{0, 1, 2}));
  EXPECT_EQ(other.reply(kNow).rows, expected({8}, 1));
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{4}));
}

TEST_F(LocalStageTest, LongRequestsRunInPiecesAndLeaveRoom) {
  Client client(stage_, fake_), other(stage_, fake_), third(stage_, fake_);
  std::vector<uint32_t> tokens(21);
  std::iota(tokens.begin(), tokens.end(), 30u);
  ASSERT_TRUE(client.append(tokens, kNoRow).ok());
  ASSERT_TRUE(other.append({8, 9}, kNoRow).ok());
  ASSERT_TRUE(third.append({8}, kNoRow).ok());
  EXPECT_TRUE(stage_.step());
  EXPECT_EQ(other.reply(kNow).rows, expected({8, 9}, 2));
  EXPECT_EQ(third.reply(kNow).rows, expected({8}, 1));
  EXPECT_EQ(client.reply(kNow).error->kind, ErrorKind::peer);
  ASSERT_TRUE(other.append({10}, 1).ok());
  EXPECT_EQ(client.reply().rows, expected(tokens, tokens.size()));
  EXPECT_EQ(other.reply(kNow).rows, expected({8, 9, 10}, 1));
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{8, 8, 8, 1}));
  EXPECT_FALSE(stage_.step());
}

TEST_F(LocalStageTest, MoreSessionsThanABatchHoldsTakeTurns) {
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(stage_, fake_);
  std::vector<int> n_reply(20, 0);
  for (Client& client : clients) ASSERT_TRUE(client.append({1}, kNoRow).ok());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(stage_.step());
    for (size_t c = 0; c < clients.size(); ++c) {
      if (clients[c].reply(kNow).error) continue;
      ++n_reply[c];
      ASSERT_TRUE(clients[c].append({1}, clients[c].next_id - 1).ok());
    }
  }
  EXPECT_GE(*std::min_element(n_reply.begin(), n_reply.end()), 19);  // 50 · 8 / 20 = 20
}

TEST_F(LocalStageTest, TheDeadlineOfNextPassesAndTheReplyStays) {
  Client client(stage_, fake_);
  EXPECT_EQ(
      client.reply(std::chrono::steady_clock::now() + std::chrono::milliseconds(1)).error->message,
      "next: " + std::string(kNoReplyYet));
  ASSERT_TRUE(client.append({5}, kNoRow).ok());
  EXPECT_EQ(client.reply(kNow).error->message, "next: " + std::string(kNoReplyYet));
  EXPECT_TRUE(backend_.batches.empty());
  EXPECT_EQ(client.reply().rows, expected({5}, 1));
}

TEST_F(LocalStageTest, SessionsEnd) {
  Client client(stage_, fake_);
  ASSERT_TRUE(client.append({1}, kNoRow).ok());
  stage_.close(client.id());
  stage_.close(client.id());
  EXPECT_EQ(client.reply().error->message, "next: session 1 does not exist");
  EXPECT_FALSE(client.rewind(0).ok());
  EXPECT_FALSE(stage_.step());
  // Closed while it is computed: its rows count as dead, the others go on.
  Client second(stage_, fake_), third(stage_, fake_);
  ASSERT_TRUE(second.append({5}, kNoRow).ok());
  size_t n_layer = 0;
  backend_.before_layer = [&] {
    if (++n_layer == 1) stage_.close(second.id());
  };
  EXPECT_TRUE(stage_.step());
  EXPECT_EQ(n_layer, 1u);
  EXPECT_EQ(backend_.n_abandoned, 1u);
  ASSERT_TRUE(third.append({6}, kNoRow).ok());
  EXPECT_EQ(third.reply().rows, expected({6}, 1));
}

TEST_F(LocalStageTest, NumbersThatGoWrongAreNamedByLayer) {
  FakeBackend broken({0, 0, 0}, 4);
  LocalStage stage(broken);
  Client client(stage, broken), other(stage, broken);
  ASSERT_TRUE(client.append({5, 6, 7}, kNoRow).ok());
  const StageReply before = client.reply();
  // What row 1 holds when it enters layer 5.
  FakeBackend one({0}, 4);
  broken.spoil(5, recompute(one, {5, 6})[2]);
  ASSERT_TRUE(client.rewind(0).ok());
  EXPECT_FALSE(client.reply().error);
  ASSERT_TRUE(client.append({5, 6, 7}, kNoRow).ok());
  ASSERT_TRUE(other.append({9}, kNoRow).ok());
  const StageReply got = client.reply();
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.error->kind, ErrorKind::model);
  EXPECT_EQ(got.error->message.substr(0, 84),
            "layer 5: row 1 of the request (id 4, position 1) is not finite at column 1: NaN or i");
  EXPECT_EQ(other.reply().ids, (Ids{0}));
  // The rows exist; cut off, the session is as new.
  ASSERT_TRUE(client.rewind(0).ok());
  EXPECT_FALSE(client.reply().error);
  broken.spoil(5, -1);
  ASSERT_TRUE(client.append({5, 6, 7}, kNoRow).ok());
  EXPECT_EQ(client.reply().rows, before.rows);
}

TEST_F(LocalStageTest, ARewindThatTheWindowForgotIsLost) {
  constexpr uint32_t kPending = 16;
  const uint32_t reach = kPending + kWindowSlack;
  Client client(stage_, fake_, {3000, kPending, KvType::f32});
  std::vector<uint32_t> tokens(1500);
  for (uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = i * i % 251;
  ASSERT_TRUE(client.append(tokens, kNoRow).ok());
  EXPECT_EQ(client.reply().rows, expected(tokens, 1500));
  const uint32_t back = 1500 - reach - 1;
  ASSERT_TRUE(client.rewind(back - 1).ok());
  const StageReply lost = client.reply();
  ASSERT_TRUE(lost.error);
  EXPECT_TRUE(is_lost(*lost.error)) << lost.error->message;
  EXPECT_EQ(lost.error->kind, ErrorKind::failed);
  ASSERT_TRUE(client.rewind(back).ok());
  EXPECT_FALSE(client.reply().error);
  tokens.resize(back);
  tokens.insert(tokens.end(), {1, 2, 3});
  ASSERT_TRUE(client.append({1, 2, 3}, back - 1).ok());
  EXPECT_EQ(client.reply().rows, expected(tokens, 3));
  // What was overwritten stays so, though the session is short now.
  ASSERT_TRUE(client.rewind(back - 1).ok());
  EXPECT_TRUE(is_lost(*client.reply().error));
  ASSERT_TRUE(client.rewind(0).ok());
  EXPECT_FALSE(client.reply().error);
  ASSERT_TRUE(client.append({1, 2, 3}, kNoRow).ok());
  EXPECT_EQ(client.reply().rows, expected({1, 2, 3}, 3));
}

TEST_F(LocalStageTest, ALoopOfItsOwnMayCompute) {
  std::atomic<bool> stop{false};
  std::thread loop([&] {
    while (!stop.load()) {
      if (!stage_.step()) {
        static_cast<void>(
            stage_.wait_for_work(std::chrono::steady_clock::now() + std::chrono::milliseconds(5)));
      }
    }
  });
  Client client(stage_, fake_);
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 60; ++i) {
    tokens.push_back(i);
    EXPECT_TRUE(client.append({i}, i == 0 ? kNoRow : i - 1).ok());
    EXPECT_EQ(client.reply().rows, expected(tokens, 1));
  }
  stop.store(true);
  loop.join();
}

TEST_F(LocalStageTest, OpenRefuses) {
  EXPECT_FALSE(stage_.open({0, 4, KvType::f32}).ok());
  EXPECT_FALSE(stage_.open({UINT32_MAX, 4, KvType::f32}).ok());
  EXPECT_FALSE(stage_.open({4, UINT32_MAX, KvType::f32}).ok());
}

TEST_F(LocalStageTest, WithoutLayersRowsPassThrough) {
  FakeBackend empty({});
  LocalStage stage(empty);
  Client client(stage, empty);
  ASSERT_TRUE(client.append({5, 6}, kNoRow).ok());
  EXPECT_EQ(client.reply().rows, client.rows({5, 6}));
}

}  // namespace
}  // namespace splitd

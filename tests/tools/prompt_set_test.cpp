// Files of prompts, where texts begin to loop, and the stage behind a link that is not there.
#include "tools/measure/prompt_set.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tools/measure/delayed_stage.h"

namespace splitd::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

TEST(PromptSet, ReadsPromptsWithTheirNames) {
  const auto prompts = parse_prompts("=== one\nfirst\n\nline\n=== two raw\n  x\n", "p.txt");
  ASSERT_TRUE(prompts.ok());
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ((*prompts)[0].name, "one");
  EXPECT_EQ((*prompts)[0].text, "first\n\nline");
  EXPECT_FALSE((*prompts)[0].raw);
  EXPECT_EQ((*prompts)[1].name, "two");
  EXPECT_EQ((*prompts)[1].text, "  x");
  EXPECT_TRUE((*prompts)[1].raw);
}

TEST(PromptSet, RefusesWithFileAndReason) {
  const auto error = [](std::string_view text) {
    const auto prompts = parse_prompts(text, "p.txt");
    return prompts.ok() ? "" : prompts.error().message;
  };
  EXPECT_EQ(error(""), "p.txt: no '=== NAME' begins a prompt");
  EXPECT_EQ(error("x\n=== one\ny\n"), "p.txt:1: text before the first '=== NAME'");
  EXPECT_EQ(error("=== one\nx\n=== one raw\ny\n"), "p.txt:3: a second one");
  EXPECT_EQ(error("=== one\n=== two\ny\n"), "p.txt: one is empty");
  EXPECT_EQ(error("=== one\n\xff\n"), "p.txt is not UTF-8");
}

TEST(PromptSet, TheProjectsOwnPromptsAreEnough) {
  const auto sets = read_prompt_sets(std::string(SPLITD_TEST_DATA) + "/prompts");
  ASSERT_TRUE(sets.ok()) << sets.error().message;
  std::string types;
  for (const PromptSet& set : *sets) {
    types += set.type + " ";
    EXPECT_GE(set.prompts.size(), 10u) << set.type;
    for (const BenchPrompt& prompt : set.prompts) {
      EXPECT_GE(prompt.text.size(), 60u) << prompt.name;
      EXPECT_LE(prompt.text.size(), 1600u) << prompt.name;
    }
  }
  EXPECT_EQ(types, "code conversational copying creative editing structured summary ");
}

std::vector<uint32_t> looping(size_t n_text, size_t cycle, size_t n_loop) {
  std::vector<uint32_t> tokens(n_text);
  std::iota(tokens.begin(), tokens.end(), 1000);
  for (size_t i = 0; i < n_loop; ++i) tokens.push_back(static_cast<uint32_t>(i % cycle));
  return tokens;
}

TEST(PromptSet, FindsWhereATextBeginsToLoop) {
  EXPECT_EQ(text_before_loop(looping(30, 1, 0)), 30u);     // nothing repeats
  EXPECT_EQ(text_before_loop(looping(30, 10, 35)), 40u);   // the first round is text
  EXPECT_EQ(text_before_loop(looping(30, 1, 24)), 31u);    // one token again and again
  EXPECT_EQ(text_before_loop(looping(0, 8, 24)), 8u);      // from the beginning
  EXPECT_EQ(text_before_loop(looping(30, 10, 29)), 59u);   // not three rounds yet
  EXPECT_EQ(text_before_loop(looping(30, 2, 23)), 53u);    // too short to be one
  EXPECT_EQ(text_before_loop(looping(9, 70, 280)), 289u);  // too long a cycle
  std::vector<uint32_t> goes_on = looping(30, 4, 40);
  goes_on.push_back(77);  // it found its way out
  EXPECT_EQ(text_before_loop(goes_on), goes_on.size());
  EXPECT_EQ(text_before_loop({}), 0u);
}

// Answers each request with as many rows as it had.
class EchoStage final : public Stage {
 public:
  Result<SessionId> open(const KvShape&) override { return SessionId{1}; }
  Status submit(SessionId, const StageRequest& request) override {
    StageReply reply;
    reply.seq = request.seq;
    for (uint32_t i = 0; i < request.timeline.append->n_row; ++i) reply.ids.push_back(i);
    replies_.push_back(reply);
    return {};
  }
  Status next(SessionId, Deadline, StageReply& reply) override {
    if (replies_.empty()) return failed("nothing was asked");
    reply = replies_.front();
    replies_.pop_front();
    return {};
  }
  void close(SessionId) override { replies_.clear(); }

 private:
  std::deque<StageReply> replies_;
};

StageRequest frame(uint32_t seq, uint32_t n_row) {
  StageRequest request;
  request.seq = seq;
  request.timeline.append = Frame{.first = 0, .base = kNoRow, .n_row = n_row};
  return request;
}

TEST(DelayedStage, HoldsARepliesForTheRoundTripAndItsBytes) {
  DelayedStage stage(std::make_unique<EchoStage>(), DelayedStage::Inner::computes_in_next, 500);
  stage.set_link({.rtt_ms = 20, .mbit = 1});
  const Clock::time_point start = Clock::now();
  ASSERT_TRUE(stage.submit(1, frame(1, 2)).ok());
  StageReply reply;
  const Status early = stage.next(1, start + milliseconds(5), reply);
  ASSERT_FALSE(early.ok());
  EXPECT_TRUE(is_no_reply_yet(early.error()));
  ASSERT_TRUE(stage.next(1, start + milliseconds(60000), reply).ok());
  EXPECT_EQ(reply.seq, 1u);
  EXPECT_EQ(reply.ids.size(), 2u);
  EXPECT_EQ(reply.bytes_up, 160u + 2 * 1005);
  // Both ways 2170 bytes at 1 Mbit/s, and the round trip.
  EXPECT_GE(Clock::now() - start, std::chrono::microseconds(20000 + 2 * 17360));
  const LinkUse use = stage.use();
  EXPECT_EQ(use.n_step, 1u);
  EXPECT_EQ(use.bytes_up, reply.bytes_up);
  EXPECT_GE(use.step_ms, 54.7);
}

TEST(DelayedStage, FramesInFlightShareARoundTrip) {
  DelayedStage stage(std::make_unique<EchoStage>(), DelayedStage::Inner::computes_in_next, 500);
  stage.set_link({.rtt_ms = 400, .mbit = 0});
  const Clock::time_point start = Clock::now();
  ASSERT_TRUE(stage.submit(1, frame(1, 2)).ok());
  ASSERT_TRUE(stage.submit(1, frame(2, 3)).ok());
  StageReply reply;
  ASSERT_TRUE(stage.next(1, start + milliseconds(60000), reply).ok());
  EXPECT_EQ(reply.seq, 1u);
  const Clock::time_point first = Clock::now();
  EXPECT_GE(first - start, milliseconds(400));
  // Had it a round trip of its own, it would not be there before this deadline.
  ASSERT_TRUE(stage.next(1, first + milliseconds(200), reply).ok());
  EXPECT_EQ(reply.seq, 2u);
  EXPECT_EQ(stage.use().n_step, 0u);  // neither was alone
}

}  // namespace
}  // namespace splitd::cli

// A body's sessions: steps, what is refused, resuming, budgets, idleness, draining. Computing
// happens when the test says so, on a backend of whole numbers.
#include "runtime/split/body.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/runtime/split/memory_client.h"

namespace splitd {
namespace {

using std::chrono::seconds;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class BodyTest : public testing::Test {
 protected:
  FakeBody fake_;
  Body& body_ = *fake_.body;

  // The last n rows of a chain, computed alone.
  static std::vector<float> expected(const std::vector<uint32_t>& tokens, size_t n) {
    FakeBackend alone(std::vector<uint64_t>(FakeBody::kEnd - FakeBody::kFirst), FakeBody::kFirst);
    const std::vector<float> all = recompute(alone, tokens);
    return {all.end() - static_cast<std::ptrdiff_t>(2 * n), all.end()};
  }
};

// ---- Steps

TEST_F(BodyTest, StepsAreAnsweredInOrder) {
  MemoryClient client(body_);
  client.open();
  client.send_step(client.append({5, 6, 7}));
  client.send_step(client.append({8}));
  EXPECT_EQ(body_.gauges().in_flight, 2u);
  fake_.compute();
  EXPECT_EQ(client.take_rows(1), expected({5, 6, 7}, 3));
  EXPECT_EQ(client.take_rows(2), expected({5, 6, 7, 8}, 1));
  EXPECT_TRUE(client.received.empty());
  EXPECT_EQ(body_.gauges().in_flight, 0u);
  EXPECT_EQ(body_.metrics().steps.load(), 2u);
  EXPECT_EQ(body_.metrics().rows.load(), 4u);
}

TEST_F(BodyTest, TreesAndDeadRows) {
  MemoryClient client(body_);
  client.open();
  client.send_step(client.append({5}));
  StageRequest tree = client.append({8, 9, 10});
  const int32_t parents[] = {-1, 0, -1};
  tree.timeline.append->parents = parents;
  tree.timeline.append->commit = false;
  client.send_step(tree);
  StageRequest keep{.seq = ++client.seq, .ack = 0, .timeline = {}, .rows = {}};
  keep.timeline.edit = TimelineRequest::Edit::keep;
  keep.timeline.keep = 3;
  client.send_step(keep);  // read ahead: the other branch dies before it was computed
  fake_.compute();
  client.take_rows(1);
  const MemoryClient::Message reply = client.take();
  EXPECT_TRUE(has(reply.header, R"("n":1,"dead":[1,2])")) << reply.header;
  EXPECT_TRUE(client.take_rows(3).empty());
}

TEST_F(BodyTest, TwoSessionsShareABatchAndEachIsAsIfAlone) {
  MemoryClient one(body_), two(body_, "psk:two");
  one.open();
  two.open();
  std::vector<uint32_t> text_one, text_two;
  for (uint32_t i = 0; i < 20; ++i) {
    text_one.push_back(10 + i);
    text_two.push_back(99 - i);
    one.send_step(one.append({text_one.back()}));
    two.send_step(two.append({text_two.back()}));
    fake_.compute();
    EXPECT_EQ(one.take_rows(i + 1), expected(text_one, 1));
    EXPECT_EQ(two.take_rows(i + 1), expected(text_two, 1));
  }
  const Histogram& sessions = body_.metrics().batch_sessions;
  EXPECT_EQ(sessions.count(), 20u);
  EXPECT_EQ(sessions.sum(), 40.0);
}

TEST_F(BodyTest, WhatAStageRefusesEndsNothing) {
  MemoryClient client(body_);
  client.open();
  client.send_step(client.append({5}));
  client.next_id = 9;
  client.send_step(client.append({6}));
  client.next_id = 1;
  client.send_step(client.append({6}));
  fake_.compute();
  client.take_rows(1);
  EXPECT_EQ(client.take_error(2), "bad_request: first is 9; the next row is 1");
  EXPECT_EQ(client.take_rows(3), expected({5, 6}, 1));
  client.seq += 3;  // a gap
  client.send_step(client.append({7}));
  fake_.compute();
  EXPECT_EQ(client.take_error(7), "bad_request: seq 7: the next one is 4");
  client.seq = 3;
  client.next_id = 2;
  client.send_step(client.append({7}));
  fake_.compute();
  EXPECT_EQ(client.take_rows(4), expected({5, 6, 7}, 1));
  EXPECT_FALSE(client.is_closed);
}

TEST_F(BodyTest, NumbersThatAreNotFiniteAreNamedAndEndNothing) {
  MemoryClient client(body_);
  client.open();
  const StageRequest request = client.append({5, 6});
  const std::vector<float> values{1, 2, 3, std::numeric_limits<float>::infinity()};
  client.send_step(request, std::as_bytes(std::span(values)));
  fake_.compute();
  EXPECT_EQ(client.take_error(1),
            "numbers: row 1 received is not finite in column 1 (wire type f32)");
  client.next_id = 0;
  client.send_step(client.append({5, 6}));
  fake_.compute();
  EXPECT_EQ(client.take_rows(2), expected({5, 6}, 2));
}

TEST_F(BodyTest, WhatBreaksTheProtocolEndsTheSession) {
  const auto answer = [this](const auto& act) {
    MemoryClient client(body_);
    client.open();
    act(client);
    fake_.compute();
    std::string text = client.take_error();
    EXPECT_TRUE(client.is_closed) << text;
    EXPECT_EQ(body_.gauges().used, Usage()) << text;
    EXPECT_EQ(body_.gauges().in_flight, 0u);
    return text;
  };
  EXPECT_EQ(answer([](MemoryClient& client) {
              client.send_step(client.append({5, 6}), std::vector<std::byte>(15));
            }),
            "bad_request: a payload of 15 bytes; 2 rows of wire type f32 have 16");
  EXPECT_EQ(answer([](MemoryClient& client) {
              client.send_step(client.append(std::vector<uint32_t>(513, 1)));
            }),
            "too_large: a step of 513 rows; at most 512 are accepted");
  EXPECT_EQ(answer([](MemoryClient& client) {
              for (uint32_t i = 0; i < kReplyWindow + 1; ++i) client.send_step(client.append({5}));
            }),
            "bad_request: more than 8 steps are not answered yet");
  EXPECT_TRUE(
      has(answer([](MemoryClient& client) { client.send(R"({"type":"step","seq":-1,"ack":0})"); }),
          "bad_request: step: \"seq\""));
}

TEST_F(BodyTest, AStepBeforeTheWelcomeIsRefused) {
  MemoryClient client(body_);
  client.send(client.hello_for());
  client.send_step(client.append({5}));
  EXPECT_EQ(client.take_error(), "bad_request: a step before the welcome");
  fake_.compute();
  EXPECT_TRUE(client.received.empty());
  EXPECT_EQ(body_.gauges().used, Usage());
  EXPECT_EQ(body_.gauges().attached, 0u);
}

TEST_F(BodyTest, WhoLeavesBeforeTheWelcomeLeavesNothing) {
  MemoryClient client(body_);
  client.send(client.hello_for());
  client.vanish();
  fake_.compute();
  EXPECT_EQ(body_.gauges().used, Usage());
  EXPECT_EQ(body_.gauges().detached, 0u);
}

// ---- Connections that come and go

// A conversation of steps, cut after `n_sent` of them were sent, `n_computed` computed and
// `n_taken` replies received; then resumed and finished.
void cut_and_resume(FakeBody& fake, uint32_t n_sent, bool computed, uint32_t n_taken) {
  constexpr uint32_t kSteps = 6;
  std::vector<std::vector<float>> want;
  std::vector<uint32_t> text;
  FakeBackend alone(std::vector<uint64_t>(FakeBody::kEnd - FakeBody::kFirst), FakeBody::kFirst);
  for (uint32_t i = 0; i < kSteps; ++i) {
    text.push_back(20 + i);
    const std::vector<float> all = recompute(alone, text);
    want.emplace_back(all.end() - 2, all.end());
  }
  MemoryClient first(*fake.body);
  const WelcomeMessage welcome = first.open();
  for (uint32_t i = 0; i < n_sent; ++i) first.send_step(first.append({text[i]}));
  if (computed) fake.compute();
  for (uint32_t i = 0; i < n_taken; ++i) EXPECT_EQ(first.take_rows(i + 1), want[i]);
  first.vanish();
  EXPECT_EQ(fake.body->gauges().detached, 1u);
  EXPECT_EQ(fake.body->gauges().in_flight, 0u);

  MemoryClient second(*fake.body);
  HelloMessage hello = second.hello_for();
  hello.resume = welcome.resume;
  const WelcomeMessage again = second.open(hello);
  EXPECT_TRUE(again.resumed);
  EXPECT_EQ(again.resume, welcome.resume);
  second.ack = second.seq = second.next_id = n_taken;  // a step a row
  for (uint32_t i = n_taken; i < kSteps; ++i) second.send_step(second.append({text[i]}));
  fake.compute();
  for (uint32_t i = n_taken; i < kSteps; ++i) EXPECT_EQ(second.take_rows(i + 1), want[i]);
  EXPECT_TRUE(second.received.empty());
  second.send(R"({"type":"close"})");
}

TEST_F(BodyTest, ACutAnywhereIsResumed) {
  for (uint32_t n_sent = 0; n_sent <= 6; ++n_sent) {
    cut_and_resume(fake_, n_sent, false, 0);
    for (uint32_t n_taken = 0; n_taken <= n_sent; ++n_taken) {
      cut_and_resume(fake_, n_sent, true, n_taken);
      EXPECT_EQ(body_.gauges().used, Usage());
    }
  }
}

TEST_F(BodyTest, AWholeWindowIsAskedForAgain) {
  MemoryClient first(body_);
  HelloMessage hello = first.hello_for();
  hello.resume = first.open().resume;
  std::vector<uint32_t> text;
  for (uint32_t i = 0; i < kReplyWindow; ++i) {
    text.push_back(i);
    first.send_step(first.append({i}));
  }
  first.vanish();
  MemoryClient second(body_);
  EXPECT_TRUE(second.open(hello).resumed);
  for (uint32_t i = 0; i < kReplyWindow; ++i) second.send_step(second.append({i}));
  fake_.compute();
  for (uint32_t i = 0; i < kReplyWindow; ++i) {
    EXPECT_EQ(second.take_rows(i + 1),
              expected({text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i) + 1}, 1));
  }
}

TEST_F(BodyTest, TheNewestConnectionHasTheSession) {
  MemoryClient first(body_);
  HelloMessage hello = first.hello_for();
  hello.resume = first.open().resume;
  first.send_step(first.append({5}));
  MemoryClient second(body_);
  EXPECT_TRUE(second.open(hello).resumed);
  EXPECT_TRUE(has(first.take_error(), "replaced: "));
  EXPECT_FALSE(first.retry);
  EXPECT_TRUE(first.is_closed);
  first.is_closed = false;  // what the older one still sends is nobody's
  first.send_step(first.append({6}));
  first.take_error();
  first.vanish();
  EXPECT_EQ(body_.gauges().attached, 1u);
  second.send_step(second.append({5}));
  fake_.compute();
  EXPECT_EQ(second.take_rows(1), expected({5}, 1));
  EXPECT_TRUE(first.received.empty());
}

TEST_F(BodyTest, ATokenIsWorthNothingToOthers) {
  MemoryClient owner(body_, "psk:owner");
  HelloMessage hello = owner.hello_for();
  hello.resume = owner.open().resume;
  owner.vanish();
  MemoryClient thief(body_, "psk:thief");
  const WelcomeMessage fresh = thief.open(hello);
  EXPECT_FALSE(fresh.resumed);
  EXPECT_NE(fresh.resume, hello.resume);
  MemoryClient guess(body_, "psk:owner");
  HelloMessage wrong = hello;
  wrong.resume[31] = wrong.resume[31] == '0' ? '1' : '0';
  EXPECT_FALSE(guess.open(wrong).resumed);
  MemoryClient back(body_, "psk:owner");
  EXPECT_TRUE(back.open(hello).resumed);
}

TEST_F(BodyTest, ASessionGoesOnAsItWasOpened) {
  MemoryClient first(body_);
  HelloMessage hello = first.hello_for();
  hello.resume = first.open().resume;
  first.vanish();
  MemoryClient second(body_);
  hello.wire = WireType::q8;
  second.send(hello);
  const std::string text = second.take_error();
  EXPECT_TRUE(has(text, "bad_request: ") && has(text, "wire q8") && has(text, "wire f32")) << text;
  EXPECT_EQ(body_.gauges().detached, 1u);
  hello.wire = WireType::f32;
  MemoryClient third(body_);
  EXPECT_TRUE(third.open(hello).resumed);
}

TEST_F(BodyTest, WhoDoesNotReadGetsNoTurn) {
  MemoryClient slow(body_), quick(body_);
  slow.open();
  quick.open();
  slow.unsent = (uint64_t{8} << 20) + 1;
  slow.send_step(slow.append({5}));
  quick.send_step(quick.append({6}));
  fake_.compute();
  EXPECT_TRUE(slow.received.empty());
  EXPECT_EQ(quick.take_rows(1), expected({6}, 1));
  slow.unsent = 0;
  fake_.compute();
  EXPECT_EQ(slow.take_rows(1), expected({5}, 1));
}

// ---- Ends

TEST_F(BodyTest, IdleSessionsAreForgotten) {
  MemoryClient attached(body_), detached(body_), busy(body_);
  attached.open();
  HelloMessage hello = detached.hello_for();
  hello.resume = detached.open().resume;
  busy.open();
  detached.vanish();
  busy.send_step(busy.append({5}));
  const Body::Clock::time_point now = Body::Clock::now();
  body_.tick(now + seconds(299));
  EXPECT_EQ(body_.gauges().used.sessions, 3u);
  body_.tick(now + seconds(301));
  EXPECT_EQ(body_.gauges().used.sessions, 1u);  // the one that waits for its reply
  EXPECT_EQ(attached.take_error(), "idle: nothing was heard for 300 s: the session is forgotten");
  EXPECT_TRUE(attached.is_closed);
  EXPECT_TRUE(attached.retry);
  EXPECT_EQ(body_.metrics().expired.load(), 2u);
  fake_.compute();
  EXPECT_EQ(busy.take_rows(1), expected({5}, 1));
  MemoryClient late(body_);
  EXPECT_FALSE(late.open(hello).resumed);  // a fresh one: the client replays
}

TEST_F(BodyTest, BudgetsHoldForEachAndForAll) {
  BodyOptions options;
  options.most = {.sessions = 3, .rows = 2000, .bytes = uint64_t{1} << 30};
  options.most_of_peer = {.sessions = 2, .rows = 700, .bytes = uint64_t{1} << 30};
  FakeBody fake(options);
  Body& body = *fake.body;
  const auto refusal = [&](const std::string& identity, uint32_t n_ctx) {
    MemoryClient client(body, identity);
    client.send(client.hello_for(n_ctx));
    fake.compute();
    const std::string text = client.take_error();
    EXPECT_TRUE(client.is_closed) << text;
    EXPECT_TRUE(client.retry) << text;
    return text;
  };
  MemoryClient a(body, "psk:a"), b(body, "psk:a"), c(body, "psk:b");
  a.open();
  EXPECT_EQ(refusal("psk:a", 500),
            "full: no room for this peer: rows: 272 of 700 are in use, and this needs 516");
  b.open();
  EXPECT_EQ(refusal("psk:a", 10),
            "full: no room for this peer: sessions: 2 of 2 are in use, and this needs 1");
  c.open();
  EXPECT_EQ(refusal("psk:c", 10), "full: no room: sessions: 3 of 3 are in use, and this needs 1");
  // Nobody was put out, and what is given back can be had.
  EXPECT_EQ(body.gauges().used.sessions, 3u);
  b.send(R"({"type":"close"})");
  MemoryClient d(body, "psk:c");
  EXPECT_EQ(d.open().resume.size(), 32u);
  // A session whose connection is gone counts on.
  d.vanish();
  EXPECT_TRUE(has(refusal("psk:c", 10), "no room: sessions"));
}

TEST_F(BodyTest, ReservedBytesAreKeysValuesAndKeptReplies) {
  MemoryClient client(body_);
  client.open(client.hello_for(100, 0));
  const uint64_t small = body_.gauges().used.bytes;
  EXPECT_GE(small, 100u + 8 * 100 * 2 * 4);  // the fake's KV: a byte a row
  FakeBody tight({.most = {10, 10000, small}, .most_of_peer = {10, 10000, small}});
  MemoryClient fits(*tight.body);
  fits.open(fits.hello_for(100, 0));
  MemoryClient other(*tight.body);
  other.send(other.hello_for(100, 0));
  tight.compute();
  EXPECT_TRUE(has(other.take_error(), "memory: "));
}

TEST_F(BodyTest, DrainingEndsWhatIsDoneAndWaitsForTheRest) {
  MemoryClient quiet(body_), busy(body_), gone(body_);
  quiet.open();
  busy.open();
  HelloMessage hello = gone.hello_for();
  hello.resume = gone.open().resume;
  gone.vanish();
  busy.send_step(busy.append({5}));
  const Body::Clock::time_point now = Body::Clock::now();
  body_.drain(now + seconds(30));
  EXPECT_FALSE(body_.is_drained());
  MemoryClient late(body_);
  late.send(late.hello_for());
  EXPECT_TRUE(has(late.take_error(), "draining: "));
  EXPECT_TRUE(late.retry);
  body_.tick(now + seconds(10));
  EXPECT_TRUE(has(quiet.take_error(), "draining: "));
  EXPECT_TRUE(quiet.retry);
  EXPECT_TRUE(busy.received.empty());
  // A session that there is may be taken up again.
  MemoryClient back(body_);
  EXPECT_TRUE(back.open(hello).resumed);
  fake_.compute();
  EXPECT_EQ(busy.take_rows(1), expected({5}, 1));
  EXPECT_FALSE(body_.is_drained());
  body_.tick(now + seconds(31));
  EXPECT_TRUE(has(busy.take_error(), "draining: "));
  EXPECT_TRUE(has(back.take_error(), "draining: "));
  EXPECT_TRUE(body_.is_drained());
}

TEST_F(BodyTest, ManySessionsLeaveNothing) {
  uint32_t n_resumed = 0;
  for (uint32_t i = 0; i < 600; ++i) {
    MemoryClient client(body_, "psk:" + std::to_string(i % 7));
    HelloMessage hello = client.hello_for(64 + i % 64);
    hello.resume = client.open(hello).resume;
    client.send_step(client.append({i % 250, 1}));
    if (i % 3 != 0) fake_.compute();
    if (i % 4 == 0) client.send(R"({"type":"close"})");
    client.vanish();
    if (i % 8 == 1) {
      MemoryClient again(body_, "psk:" + std::to_string(i % 7));
      n_resumed += again.open(hello).resumed ? 1 : 0;
    }
  }
  EXPECT_EQ(n_resumed, 75u);
  body_.tick(Body::Clock::now() + seconds(1000));
  fake_.compute();
  EXPECT_EQ(body_.gauges().used, Usage());
  EXPECT_EQ(body_.gauges().attached + body_.gauges().detached, 0u);
  EXPECT_LE(body_.gauges().engines, 1u);
}

}  // namespace
}  // namespace splitd

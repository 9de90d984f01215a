// A local stage against a naive model of the tree: random frames, kept and rewound, wrong requests,
// repeats, several requests in flight, several sessions, kills between two layers of a running
// batch. What is accepted, which rows are alive and every bit of them has to be as the naive model
// says. One thread, so every reply is known exactly. For every backend.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/random_client.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {

inline constexpr ClientShape kShort{{40, 14, KvType::f16}, 0, 9, 3, 70, 300};

struct Run {
  Backend& backend;    // under the stage
  Backend& reference;  // another of the same model
  ClientShape shape;
  uint64_t n_op;
  uint32_t max_rows;  // of a batch
  uint32_t n_client;
};

inline RandomClient::Counts run_exactly(const Run& run, uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](size_t n) { return static_cast<uint32_t>(random() % n); };
  HookedBackend hooked(run.backend, run.max_rows);
  LocalStage stage(hooked);
  Reference reference(run.reference, run.shape.kv.type);
  std::vector<std::unique_ptr<RandomClient>> clients(run.n_client);
  RandomClient::Counts counts;
  uint64_t n_op = 0;
  const auto act = [&] {
    RandomClient* client = clients[below(run.n_client)].get();
    if (client != nullptr) client->act(true, counts);
    ++n_op;
  };
  const auto take_replies = [&] {
    StageReply reply;
    for (const auto& client : clients) {
      while (client != nullptr && stage.next(client->id(), Deadline::min(), reply).ok()) {
        client->check(reply, reference, true, counts);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  };
  hooked.before_layer = [&] {
    take_replies();  // of requests that were through before the batch
    while (below(4) == 0) act();
    if (below(1000) == 0) clients[below(run.n_client)].reset();
    if (below(50) != 0) return;
    for (const auto& client : clients) {  // so much that the batch may be wanted by nobody
      if (client != nullptr) client->cancel(counts);
    }
  };
  while (n_op < run.n_op && !testing::Test::HasFatalFailure()) {
    for (auto& client : clients) {
      if (client != nullptr && client->n_row() > run.shape.most_rows) client.reset();
      if (client == nullptr) {
        client = std::make_unique<RandomClient>(stage, run.reference, run.shape, random);
      }
    }
    for (uint32_t i = below(8) == 0 ? 9 * run.n_client : below(2 * run.n_client); i > 0; --i) act();
    const bool worked = stage.step();
    take_replies();
    if (worked) continue;
    for (const auto& client : clients) EXPECT_EQ(client->n_awaited(), 0u);
  }
  // The run has to have met the hard cases, else it shows nothing.
  EXPECT_GT(reference.n_computed(), n_op / 100);
  if (run.n_client == 1) {
    EXPECT_GT(hooked.n_abandoned, n_op / 100);
  } else if (n_op > 1000) {  // a batch that several clients want no more is rare
    EXPECT_GT(hooked.n_abandoned, 0u);
  }
  EXPECT_GT(counts.sent, n_op / 3);
  EXPECT_GT(counts.refused, n_op / 50);
  EXPECT_GT(counts.repeats, n_op / 50);
  EXPECT_GT(counts.out_of_order, n_op / 100);
  EXPECT_GT(counts.live, n_op / 4);
  EXPECT_GT(counts.died, n_op / 20);
  EXPECT_GT(counts.born_dead, n_op / 100);
  EXPECT_GE(counts.in_flight, kReplyWindow - 1);
  return counts;
}

}  // namespace splitd

// Every golden model cut in three places, and every transport: with an fp32 wire the logits are
// those of the model in one piece, bit for bit, and so are the tokens, greedy and sampled.
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/split/golden_split.h"

namespace splitd {
namespace {

struct Answers {
  std::vector<float> logits;      // of every row of the longest prompt
  std::vector<uint32_t> greedy;   // what follows the second one
  std::vector<uint32_t> sampled;  // …at T = 0.8
};

std::vector<uint32_t> prompt(const GoldenModel& model, size_t which) {
  size_t i = 0;
  for (const Json one : model.json().find("prompts")->elements()) {
    if (i++ == which) return integers<uint32_t>(*one.find("tokens"));
  }
  return {};
}

KvShape shape_of(const GoldenModel& model) {
  return {static_cast<uint32_t>(*model.json().find("session_length")->to_u64()), 8, KvType::f16};
}

Answers answers(Session& session, const GoldenModel& model) {
  Answers out;
  EXPECT_TRUE(session
                  .score(prompt(model, 2),
                         [&](size_t, std::span<float> logits) -> Status {
                           out.logits.insert(out.logits.end(), logits.begin(), logits.end());
                           return {};
                         })
                  .ok());
  GenerateOptions options;
  options.max_tokens = 16;
  const auto generate = [&](const SamplingOptions& sampling) {
    Sampler sampler(sampling, model.config().n_vocab);
    const Result<Generated> text =
        session.generate(prompt(model, 1), options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(text.ok()) << text.error().message;
    return text.ok() ? text->tokens : std::vector<uint32_t>();
  };
  out.greedy = generate({});
  out.sampled = generate({.temperature = 0.8, .seed = 5});
  return out;
}

void expect_same(const Answers& split, const Answers& whole) {
  ASSERT_EQ(split.logits.size(), whole.logits.size());
  ASSERT_GT(whole.logits.size(), 1000u);
  EXPECT_EQ(
      std::memcmp(split.logits.data(), whole.logits.data(), whole.logits.size() * sizeof(float)),
      0);
  EXPECT_EQ(split.greedy, whole.greedy);
  EXPECT_EQ(split.sampled, whole.sampled);
  EXPECT_EQ(whole.greedy.size(), 16u);
}

Answers whole_answers(GoldenParts& parts) {
  const BodyBackend whole = std::move(*parts.part({0, parts.config().n_layer}, true, true));
  Backend* const all = whole.backend.get();
  LocalStage stage(*all);
  const auto session = Session::open({all, {0, 0}, &stage, all, {0, 0}}, shape_of(parts.golden()));
  return answers(**session, parts.golden());
}

Answers split_answers(GoldenParts& parts, uint32_t head, uint32_t tail, RemoteOptions remote) {
  remote.wire = WireType::f32;
  GoldenEnds ends(parts, head, tail, std::move(remote), shape_of(parts.golden()));
  return ends.session() == nullptr ? Answers() : answers(*ends.session(), parts.golden());
}

class GoldenCuts : public testing::TestWithParam<std::string> {};

TEST_P(GoldenCuts, AreTheModelInOnePiece) {
  GoldenParts parts(GetParam());
  const uint32_t n_layer = parts.config().n_layer;
  const Answers whole = whole_answers(parts);
  ServedBody served(parts.body({0, n_layer}));
  // A model of two layers has one for the body.
  using Cut = std::pair<uint32_t, uint32_t>;
  const std::vector<Cut> cuts = n_layer == 2
                                    ? std::vector<Cut>{{1, 0}, {0, 1}}
                                    : std::vector<Cut>{{1, 1}, {n_layer - 2, 1}, {1, n_layer - 2}};
  for (const auto& [head, tail] : cuts) {
    RemoteOptions remote;
    remote.bodies = {{"127.0.0.1", served.port()}};
    const Answers split = split_answers(parts, head, tail, std::move(remote));
    SCOPED_TRACE(std::to_string(head) + "/" + std::to_string(tail));
    expect_same(split, whole);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenCuts, testing::ValuesIn(golden_model_names()),
                         [](const auto& test) { return test.param; });

class GoldenWays : public testing::TestWithParam<const char*> {};

TEST_P(GoldenWays, AreAllTheSame) {
  static const Keys keys;
  GoldenParts parts(GetParam());
  const Answers whole = whole_answers(parts);
  for (const Way::Proof proof : {Way::Proof::none, Way::Proof::psk, Way::Proof::certificates}) {
    BodyServerOptions options;
    options.net.tls = keys.server(proof);
    ServedBody served(parts.body({0, parts.config().n_layer}), std::move(options));
    for (const Way& way : kWays) {
      if (way.proof != proof) continue;
      RemoteOptions remote;
      remote.bodies = {{"127.0.0.1", served.port()}};
      remote.tls = keys.client(proof);
      remote.websocket = way.websocket;
      SCOPED_TRACE(way.name);
      expect_same(split_answers(parts, 1, 1, std::move(remote)), whole);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenWays,
                         testing::Values("gemma3_text", "llama_bf16", "qwen3_moe"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace splitd

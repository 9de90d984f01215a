// Speculation through a body behind a socket: trees in several frames in flight, connections that
// are cut in the middle of them, sessions that are forgotten. The tokens are those of one token at
// a time, also at f16 on the wire: a row has the same bytes alone and in company.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>

#include "runtime/decode/session.h"
#include "runtime/split/remote_stage.h"
#include "tests/lab/proxy.h"
#include "tests/runtime/decode/test_drafters.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/split/served_body.h"

namespace splitd {
namespace {

using lab::Direction;
using lab::WanProxy;

// A model in three parts, the one between on a body behind a proxy.
class Split {
 public:
  explicit Split(const std::string& path)
      : files_(ModelFiles::open(path)), table_(*kernels::runnable_tables().back()) {
    const ModelConfig& config = files_->config();
    const uint32_t end = config.n_layer - 1;
    ranges_ = {LayerRange{0, 1}, {1, end}, {end, config.n_layer}};
    parts_[0] = part(pool_, ranges_[0], true, false);
    parts_[2] = part(pool_, ranges_[2], false, true);
    BodyModel model;
    model.config = config;
    model.fingerprint = std::string(64, 'c');
    model.layers = model.offer = ranges_[1];
    model.table = &table_;
    model.make_backend = [this](LayerRange layers, bool) -> Result<BodyBackend> {
      BodyBackend out;
      out.backend = part(body_pool_, layers, false, false);
      return out;
    };
    body_ = std::make_unique<ServedBody>(std::move(model));
    proxy_ = std::move(*WanProxy::start({.target_port = body_->port()}));
    RemoteOptions options;
    options.bodies = {{"127.0.0.1", proxy_->port()}};
    remote_ =
        std::move(*RemoteStage::create(table_, std::string(64, 'c'), config.d_model, options));
    remote_->set_layers(ranges_[1]);
  }
  ~Split() {
    remote_.reset();
    proxy_.reset();
    body_.reset();
  }

  const ModelConfig& config() const { return files_->config(); }
  ServedBody& body() { return *body_; }
  WanProxy& proxy() { return *proxy_; }
  RemoteTraffic traffic() const { return remote_->traffic(); }

  std::unique_ptr<Session> open(uint32_t n_ctx, uint32_t max_pending) {
    const Pipeline pipeline{parts_[0].get(), ranges_[0], remote_.get(), parts_[2].get(),
                            ranges_[2]};
    Result<std::unique_ptr<Session>> session =
        Session::open(pipeline, {n_ctx, max_pending, KvType::f32});
    EXPECT_TRUE(session.ok()) << session.error().message;
    return session.ok() ? std::move(*session) : nullptr;
  }

 private:
  std::unique_ptr<Backend> part(ThreadPool& pool, LayerRange layers, bool embedding, bool head) {
    weights_.push_back(std::move(*files_->weights(layers, embedding, head)));
    return std::move(*make_cpu_backend(config(), weights_.back(), {&table_, &pool, true}));
  }

  Result<ModelFiles> files_;
  const kernels::KernelTable& table_;
  ThreadPool pool_{1}, body_pool_{1};
  std::deque<ModelWeights> weights_;
  std::array<LayerRange, 3> ranges_;
  std::array<std::unique_ptr<Backend>, 3> parts_;
  std::unique_ptr<ServedBody> body_;
  std::unique_ptr<WanProxy> proxy_;
  std::unique_ptr<RemoteStage> remote_;
};

Generated generate(Session& session, const std::vector<uint32_t>& prompt, uint32_t n_vocab,
                   uint32_t n, const SamplingOptions& sampling, GenerateOptions options,
                   const std::function<void()>& each_token = {}) {
  Sampler sampler(sampling, n_vocab);
  options.max_tokens = n;
  Result<Generated> out = session.generate(prompt, options, sampler, [&](uint32_t) {
    if (each_token) each_token();
    return true;
  });
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? std::move(*out) : Generated();
}

class RemoteSpeculation : public testing::TestWithParam<const char*> {};

TEST_P(RemoteSpeculation, CutsAndForgottenSessionsInTheMiddleOfTrees) {
  constexpr uint32_t kTokens = 300;
  Split split(kGoldenModels + GetParam());
  const uint32_t n_vocab = split.config().n_vocab;
  const std::vector<uint32_t> prompt{5, 9, 2, 7, 11, 3};
  const auto n_ctx = static_cast<uint32_t>(prompt.size()) + kTokens;
  const std::unique_ptr<Session> session = split.open(n_ctx, 100);
  ASSERT_NE(session, nullptr);
  for (const SamplingOptions& sampling :
       {SamplingOptions{}, SamplingOptions{.temperature = 0.8, .logit_bias = {}, .seed = 3},
        SamplingOptions{.temperature = 0.8, .repeat_penalty = 1.2, .logit_bias = {}, .seed = 4}}) {
    const std::vector<uint32_t> plain =
        generate(*session, prompt, n_vocab, kTokens, sampling, {}).tokens;
    std::vector<uint32_t> all = prompt;
    all.insert(all.end(), plain.begin(), plain.end());
    const uint64_t before = split.traffic().n_reconnect;
    for (uint32_t seed = 0; seed < 4; ++seed) {
      RandomDrafter drafter(seed, all, n_vocab);
      GenerateOptions options;
      options.drafter = &drafter;
      options.most_frames = 1 + 2 * seed;
      options.most_parts = 1 + seed % 3;
      size_t n_token = 0;
      const Generated got = generate(*session, prompt, n_vocab, kTokens, sampling, options, [&] {
        ++n_token;
        if (n_token % 50 == 20) split.proxy().cut_after(Direction::up, 700 * (seed + 1));
        if (n_token % 50 == 40) split.proxy().cut_after(Direction::down, 500 * (seed + 1));
        if (n_token >= 200 && n_token < 210) split.body().forget_idle();
      });
      ASSERT_EQ(got.tokens, plain) << "seed " << seed;
    }
    EXPECT_GE(split.traffic().n_reconnect - before, 8u);
  }
  EXPECT_GT(split.body().body().metrics().expired.load(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Golden, RemoteSpeculation,
                         testing::Values("llama_bf16", "mistral_window", "qwen3_moe"),
                         [](const auto& test) { return std::string(test.param); });

// Measures, asserts nothing but the text: --gtest_also_run_disabled_tests, alone on the machine.
// ORACLE_MODEL: a model directory; by default a golden one, which costs next to nothing to compute.
TEST(RemoteSpeculationBench, DISABLED_Over80ms) {
  constexpr uint32_t kTokens = 160, kRows = 8;
  const char* path = std::getenv("ORACLE_MODEL");
  Split split(path != nullptr ? path : kGoldenModels + "llama_bf16");
  const uint32_t n_vocab = split.config().n_vocab;
  const std::vector<uint32_t> prompt{5, 9, 2, 7, 11, 3};
  const std::unique_ptr<Session> session = split.open(200, 128);
  const std::vector<uint32_t> plain = generate(*session, prompt, n_vocab, kTokens, {}, {}).tokens;
  std::vector<uint32_t> all = prompt;
  all.insert(all.end(), plain.begin(), plain.end());
  split.proxy().set_round_trip(lab::Nanoseconds(80'000'000));
  split.proxy().set_rate(100'000'000);
  for (const bool right : {true, false}) {
    const uint32_t n = right ? kTokens : kTokens / 5;
    double ms[3] = {};
    for (int way = 0; way < 3; ++way) {
      ChainDrafter drafter(all, right, kRows, n_vocab);
      Controller controller({.most_rows = 32, .most_frames = 4});
      GenerateOptions options;
      options.drafter = &drafter;
      options.most_frames = way == 0 ? 1 : 4;
      if (way == 2) options.controller = &controller;
      const Generated got = generate(*session, prompt, n_vocab, n, {}, options);
      EXPECT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(), plain.begin()));
      ms[way] = got.decode_ms;
      std::printf("%s, %s: %.1f tokens/s, %.2f rows a token, %u frames in flight, %.2fx\n",
                  right ? "oracle" : "always wrong",
                  way == 0   ? "one frame in flight"
                  : way == 1 ? "four frames in flight"
                             : "as the controller says",
                  (n - 1) * 1e3 / got.decode_ms, static_cast<double>(got.n_row) / (n - 1),
                  got.most_frames, ms[0] / ms[way]);
    }
  }
}

}  // namespace
}  // namespace splitd

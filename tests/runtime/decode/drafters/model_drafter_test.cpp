// Drafters that compute: a model that guesses for itself is nearly always right, at any
// temperature; one that lacks its middle is right now and then; neither changes a token.
#include "runtime/decode/drafters/model_drafter.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/drafters/same_vocabulary.h"
#include "runtime/decode/session.h"
#include "runtime/engine/local_stage.h"
#include "tests/runtime/decode/drafters/toy_loop.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

// What the session does, with drafts checked on their way.
class Checked final : public Drafter {
 public:
  Checked(Drafter& inner, uint32_t n_vocab) : inner_(inner), n_vocab_(n_vocab) {}
  std::string_view name() const override { return inner_.name(); }
  uint32_t n_top() const override { return inner_.n_top(); }
  void begin(std::span<const uint32_t> prompt) override { inner_.begin(prompt); }
  Status propose(const DraftRequest& request, Draft& draft) override {
    Status status = inner_.propose(request, draft);
    toy::expect_valid(draft, request.budget, n_vocab_);
    return status;
  }
  void observe(const StepSeen& seen) override { inner_.observe(seen); }

 private:
  Drafter& inner_;
  uint32_t n_vocab_;
};

class ModelDrafters : public testing::TestWithParam<const char*> {
 protected:
  ModelDrafters()
      : model_(GetParam()),
        backend_(model_.backend(*kernels::runnable_tables().back(), pool_)),
        draft_backend_(model_.backend(*kernels::runnable_tables().back(), pool_)),
        stage_(*backend_),
        session_(
            *Session::open({backend_.get(), {0, 0}, &stage_, backend_.get(), {0, 0}}, {300, 64})) {}

  uint32_t n_vocab() const { return model_.config().n_vocab; }
  DraftModel whole(uint32_t n_ctx = 300) {
    return {draft_backend_.get(),
            {{draft_backend_.get(), {0, model_.config().n_layer}}},
            draft_backend_.get(),
            n_vocab(),
            n_ctx};
  }

  Generated generate(const std::vector<uint32_t>& prompt, const SamplingOptions& sampling,
                     Drafter* drafter, uint32_t n = 60) {
    Sampler sampler(sampling, n_vocab());
    GenerateOptions options;
    options.max_tokens = n;
    options.drafter = drafter;
    Result<Generated> out =
        session_->generate(prompt, options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(out.ok()) << out.error().message;
    return out.ok() ? *out : Generated{};
  }

  GoldenModel model_;
  ThreadPool pool_{1};
  std::unique_ptr<Backend> backend_, draft_backend_;
  LocalStage stage_;
  std::unique_ptr<Session> session_;
};

TEST_P(ModelDrafters, AModelKnowsItself) {
  for (const double temperature : {0.0, 0.9}) {
    SamplingOptions sampling{.temperature = temperature, .seed = 5};
    if (temperature > 0) sampling.repeat_penalty = 1.2;
    const auto inner = ModelDrafter::open("draft", whole(), sampling);
    ASSERT_TRUE(inner.ok());
    (*inner)->sample_like(sampling);
    Checked drafter(**inner, n_vocab());
    const std::vector<uint32_t> prompt = {3, 1, 4, 1, 5, 9, 2, 6};
    const Generated plain = generate(prompt, sampling, nullptr);
    const Generated guessed = generate(prompt, sampling, &drafter);
    EXPECT_EQ(guessed.tokens, plain.tokens);
    EXPECT_LT(guessed.n_step * 2, plain.n_step) << temperature;
    // The next answer: the text is cut back and goes another way.
    const std::vector<uint32_t> other = {3, 1, 4, 7};
    const Generated next = generate(other, sampling, &drafter);
    EXPECT_EQ(next.tokens, generate(other, sampling, nullptr).tokens);
    EXPECT_LT(next.n_step * 2, next.tokens.size());
  }
}

TEST_P(ModelDrafters, DrawsLikeTheSampler) {
  // With another seed the same model guesses worse: it is the number that is shared.
  const SamplingOptions sampling{.temperature = 1.5, .seed = 5},
      other{.temperature = 1.5, .seed = 6};
  const std::vector<uint32_t> prompt = {3, 1, 4, 1, 5};
  uint64_t n_step[2];
  for (const bool same : {false, true}) {
    const auto drafter = ModelDrafter::open("draft", whole(), same ? sampling : other);
    ASSERT_TRUE(drafter.ok());
    n_step[same ? 1 : 0] = generate(prompt, sampling, drafter->get()).n_step;
    if (same) (*drafter)->sample_like(sampling);
  }
  EXPECT_LT(n_step[1], n_step[0]);
}

TEST_P(ModelDrafters, LeavesOutTheMiddle) {
  const uint32_t n = model_.config().n_layer;
  ASSERT_GE(n, 2u);
  const DraftModel ends{draft_backend_.get(),
                        {{draft_backend_.get(), {0, 1}}, {draft_backend_.get(), {n - 1, n}}},
                        draft_backend_.get(),
                        n_vocab(),
                        300};
  DrafterOptions options;
  options.n_vocab = n_vocab();
  options.model = &ends;
  const auto inner = make_drafter("early-exit", options);
  ASSERT_TRUE(inner.ok());
  EXPECT_EQ((*inner)->name(), "early-exit");
  Checked drafter(**inner, n_vocab());
  const std::vector<uint32_t> prompt = {3, 1, 4, 1, 5, 9, 2, 6};
  EXPECT_EQ(generate(prompt, {}, &drafter).tokens, generate(prompt, {}, nullptr).tokens);
}

TEST_P(ModelDrafters, EndsWhenItIsCancelledAndGoesOnLater) {
  const auto drafter = ModelDrafter::open("draft", whole(), {});
  const auto fresh = ModelDrafter::open("draft", whole(), {});
  ASSERT_TRUE(drafter.ok() && fresh.ok());
  std::vector<uint32_t> text(40, 3);
  std::atomic<bool> cancelled{false};
  Draft draft, wanted;
  ASSERT_TRUE((*drafter)->propose({text, 40, 8, 40, &cancelled}, draft).ok());
  cancelled = true;
  text.insert(text.end(), {4, 5, 6});
  Status status = (*drafter)->propose({text, 43, 8, 43, &cancelled}, draft);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::interrupted);
  cancelled = false;
  draft.clear();
  ASSERT_TRUE((*drafter)->propose({text, 43, 8, 43, &cancelled}, draft).ok());
  ASSERT_TRUE((*fresh)->propose({text, 43, 8, 43}, wanted).ok());
  EXPECT_GT(draft.size(), 0u);
  EXPECT_EQ(draft.tokens, wanted.tokens);
  EXPECT_EQ(draft.probabilities, wanted.probabilities);
}

TEST_P(ModelDrafters, GuessesNothingBeyondItsContextOrVocabulary) {
  const auto drafter = ModelDrafter::open("draft", whole(12), {});
  ASSERT_TRUE(drafter.ok());
  Draft draft;
  std::vector<uint32_t> text(11, 3);
  ASSERT_TRUE((*drafter)->propose({text, text.size(), 8, text.size()}, draft).ok());
  EXPECT_GT(draft.size(), 0u);
  draft.clear();
  text.push_back(4);
  ASSERT_TRUE((*drafter)->propose({text, text.size(), 8, text.size()}, draft).ok());
  EXPECT_EQ(draft.size(), 0u);
  text = {n_vocab() + 5};
  ASSERT_TRUE((*drafter)->propose({text, 1, 8, 1}, draft).ok());
  EXPECT_EQ(draft.size(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Golden, ModelDrafters,
                         testing::Values("llama", "gemma3_text", "mistral_window", "qwen3_moe"),
                         [](const auto& param) { return std::string(param.param); });

TEST(MakeDrafter, RefusesADraftWithoutAModel) {
  const auto drafter = make_drafter("draft", {});
  ASSERT_FALSE(drafter.ok());
  EXPECT_NE(drafter.error().message.find("'draft'"), std::string::npos);
}

// Golden models of one vocabulary size, with tokenizers of choice beside them.
class SameVocabulary : public testing::Test {
 protected:
  ModelFiles model(const std::string& name, const std::string& tokenizer) {
    const std::string path = directory_.path() + "/" + name;
    std::filesystem::copy(kGoldenModels + "llama", path);
    if (!tokenizer.empty()) {
      std::filesystem::copy(
          std::string(SPLITD_TEST_BUILD) + "/tokenizers/" + tokenizer + "/tokenizer.json",
          path + "/tokenizer.json", std::filesystem::copy_options::overwrite_existing);
    }
    Result<ModelFiles> files = ModelFiles::open(path);
    EXPECT_TRUE(files.ok());
    return std::move(*files);
  }
  TempDir directory_;
};

TEST_F(SameVocabulary, ComparesTheTokens) {
  const ModelFiles a = model("a", "smollm2"), b = model("b", "smollm2"), c = model("c", "qwen3");
  const ModelFiles bare = model("bare", "");
  EXPECT_TRUE(check_same_vocabulary(a, b).ok());
  EXPECT_TRUE(check_same_vocabulary(a, bare).ok());  // by size
  const Status status = check_same_vocabulary(a, c);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::usage);
  for (const std::string& part : {a.path(), c.path(), std::string("token 0")}) {
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace splitd

// A step of a warm drafter takes nothing from the heap, and a long text's stays in its bounds.
#include <gtest/gtest.h>

#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/drafters/model_drafter.h"
#include "runtime/decode/row_sketch.h"
#include "tests/heap_count.h"
#include "tests/runtime/decode/drafters/toy_loop.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

class DrafterAllocations : public testing::TestWithParam<std::string_view> {};

TEST_P(DrafterAllocations, NoneForAStep) {
  constexpr uint32_t kVocab = 49152;
  constexpr size_t kPrompt = 32768, kWarm = 200, kSteps = 600;
  const toy::Model model(kVocab, 0.2, 1);
  DrafterOptions options;
  options.n_vocab = kVocab;
  const size_t before = heap::alive;
  Result<std::unique_ptr<Drafter>> made = make_drafter(GetParam(), options);
  ASSERT_TRUE(made.ok());
  Drafter& drafter = **made;

  std::mt19937 random(3);
  std::vector<uint32_t> text(kPrompt);
  for (uint32_t& token : text) token = static_cast<uint32_t>(random() % 500);
  text.reserve(kPrompt + kSteps + 1);
  std::vector<uint32_t> top(16);
  std::vector<float> probabilities(16, 0.05f);
  FakeBackend embedding(std::vector<uint64_t>{0});
  TokenSketches tokens(embedding);
  tokens.of(0);
  drafter.use(tokens);
  std::vector<float> above(kSketch, 0.0625f), sketch(kSketch);
  Draft draft;
  drafter.begin(text);
  EXPECT_LT(heap::alive - before, size_t{48} << 20);
  uint64_t n_alloc = 0;
  size_t n_row = 0;
  for (size_t step = 0; step < kSteps; ++step) {
    const uint64_t start = heap::n_alloc;
    draft.clear();
    ASSERT_TRUE(drafter.propose({text, text.size(), 64, text.size(), nullptr, above}, draft).ok());
    const uint32_t next = text[step * 7];
    for (size_t i = 0; i < top.size(); ++i) top[i] = (next + static_cast<uint32_t>(i)) % kVocab;
    for (float& x : sketch) x = static_cast<float>(random() % 100) / 800;
    const SeenRow row{-1, next, top, probabilities, sketch, above};
    drafter.observe({text, &draft, {&next, 1}, {&row, 1}});
    while (drafter.work()) {
    }
    above = sketch;
    if (step >= kWarm) n_alloc += heap::n_alloc - start;
    n_row += draft.size();
    text.push_back(next);
  }
  if (GetParam() != "sequential" && GetParam() != "prompt-lookup") {
    EXPECT_GT(n_row, kSteps);
  }
  EXPECT_EQ(n_alloc, 0u);
}

// The two that compute: a text that goes on, partly as guessed.
TEST(ModelDrafterAllocations, NoneForAStep) {
  const GoldenModel model("mistral_window");
  ThreadPool pool{1};
  const auto backend = model.backend(*kernels::runnable_tables().back(), pool);
  const uint32_t n_vocab = model.config().n_vocab, n = model.config().n_layer;
  const DraftModel ends{backend.get(),
                        {{backend.get(), {0, 1}}, {backend.get(), {n - 1, n}}},
                        backend.get(),
                        n_vocab,
                        1024};
  for (const SamplingOptions& sampling :
       {SamplingOptions{},
        SamplingOptions{
            .temperature = 0.8, .top_k = 40, .top_p = 0.9, .repeat_penalty = 1.1, .seed = 3}}) {
    const auto drafter = ModelDrafter::open("early-exit", ends, sampling);
    ASSERT_TRUE(drafter.ok());
    std::mt19937 random(3);
    std::vector<uint32_t> text(100, 5);
    text.reserve(1024);
    (*drafter)->begin(text);
    Draft draft;
    uint64_t n_alloc = 0;
    size_t n_row = 0;
    for (int step = 0; step < 150; ++step) {
      const uint64_t start = heap::n_alloc;
      draft.clear();
      ASSERT_TRUE((*drafter)->propose({text, text.size(), 24, text.size()}, draft).ok());
      ASSERT_GT(draft.size(), 0u);
      std::array<uint32_t, 2> accepted = {draft.tokens[0],
                                          static_cast<uint32_t>(random() % n_vocab)};
      const auto right = std::span(accepted).first(1 + random() % 2);
      (*drafter)->observe({text, &draft, right, {}});
      if (step >= 50) n_alloc += heap::n_alloc - start;
      n_row += draft.size();
      text.insert(text.end(), right.begin(), right.end());
    }
    EXPECT_GT(n_row, 150u);
    EXPECT_EQ(n_alloc, 0u) << sampling.temperature;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DrafterAllocations, testing::ValuesIn(toy::plain_drafters()),
                         [](const auto& param) { return toy::test_name(param.param); });

}  // namespace
}  // namespace splitd

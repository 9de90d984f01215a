// What holds for every drafter that needs no model, whatever it is asked.
#include <gtest/gtest.h>

#include "runtime/decode/drafters/make_drafter.h"
#include "tests/runtime/decode/drafters/toy_loop.h"

namespace splitd {
namespace {

using toy::LoopOptions;

std::unique_ptr<Drafter> make(std::string_view name, uint32_t n_vocab) {
  DrafterOptions options;
  options.n_vocab = n_vocab;
  Result<std::unique_ptr<Drafter>> drafter = make_drafter(name, options);
  EXPECT_TRUE(drafter.ok());
  return std::move(*drafter);
}

class Drafters : public testing::TestWithParam<std::string_view> {};

TEST_P(Drafters, DraftsAreValidWhateverIsAsked) {
  for (const uint32_t n_vocab : {1u, 3u, 9u, 257u}) {
    for (const double heat : {0.0, 0.3}) {
      const toy::Model model(n_vocab, heat, n_vocab);
      const auto drafter = make(GetParam(), n_vocab);
      EXPECT_EQ(drafter->name(), GetParam());
      for (const uint32_t budget : {0u, 1u, 5u, 64u, 3000u}) {
        std::vector<uint32_t> text = {0};
        toy::drive(*drafter, model, text,
                   {.budget = budget, .n_token = 60, .cuts = true, .looks_ahead = true});
        if (HasFatalFailure())
          FAIL() << n_vocab << " tokens, heat " << heat << ", budget " << budget;
      }
    }
  }
}

TEST_P(Drafters, FollowTextsThatAreCutBack) {
  const toy::Model model(40, 0.1, 5), other(40, 0.1, 6);
  const auto drafter = make(GetParam(), 40);
  std::vector<uint32_t> text = {1, 2, 3};
  toy::drive(*drafter, model, text, {.n_token = 200});
  for (const size_t n : {size_t{150}, size_t{3}, size_t{1}}) {
    text.resize(n);
    text.push_back(7);
    toy::drive(*drafter, n == 3 ? other : model, text,
               {.n_token = 100, .cuts = true, .looks_ahead = true});
    ASSERT_FALSE(HasFatalFailure());
  }
  // A prompt that is the beginning of the last text, and an answer that is observed twice.
  text.resize(50);
  drafter->begin(text);
  Draft draft;
  const std::vector<uint32_t> accepted = {5, 6};
  for (int i = 0; i < 2; ++i) drafter->observe({text, &draft, accepted, {}});
  ASSERT_TRUE(drafter->propose({text, 20, 8, 50}, draft).ok());
  toy::expect_valid(draft, 8, 40);
}

TEST_P(Drafters, FindTheirWayThroughTextThatRepeatsItself) {
  const toy::Model model(60, 0, 3);  // greedy: goes in circles
  const auto drafter = make(GetParam(), 60);
  std::vector<uint32_t> text = {4, 5};
  const toy::Run run = toy::drive(*drafter, model, text, {.budget = 8, .n_token = 600});
  if (GetParam() == "sequential") {
    EXPECT_EQ(run.tokens_per_step(), 1);
  } else if (GetParam() == "jacobi") {
    EXPECT_GE(run.tokens_per_step(), 1);  // knows nothing of what was: window_test.cpp
  } else if (GetParam() == "lookahead") {
    EXPECT_GT(run.tokens_per_step(), 1.4);  // half of eight rows is search
  } else {
    EXPECT_GT(run.tokens_per_step(), 4);
  }
}

TEST_P(Drafters, ClaimWhatComesTrue) {
  struct Tenth {
    double claimed = 0, right = 0, n = 0;
  };
  std::vector<Tenth> tenths(10);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const toy::Model model(50, 0.25, seed);
    const auto drafter = make(GetParam(), 50);
    std::vector<uint32_t> text = {1};
    toy::drive(*drafter, model, text, {.budget = 12, .n_token = 1000});  // has learnt
    drafter->begin(text);
    toy::drive(*drafter, model, text, {.budget = 12, .n_token = 1500},
               [&](float claimed, bool right) {
                 Tenth& tenth = tenths[std::min<size_t>(static_cast<size_t>(claimed * 10), 9)];
                 tenth.claimed += claimed;
                 tenth.right += right ? 1 : 0;
                 tenth.n += 1;
               });
  }
  for (const Tenth& tenth : tenths) {
    if (tenth.n < 200) continue;
    EXPECT_NEAR(tenth.claimed / tenth.n, tenth.right / tenth.n, 0.1) << tenth.n << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(All, Drafters, testing::ValuesIn(toy::plain_drafters()),
                         [](const auto& param) { return toy::test_name(param.param); });

TEST(MakeDrafter, RefusesUnknownNames) {
  const Result<std::unique_ptr<Drafter>> drafter = make_drafter("prompt_lookup", {});
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().kind, ErrorKind::usage);
  for (const std::string_view part : {"'prompt_lookup'", "prompt-lookup", "recycle", "auto"}) {
    EXPECT_NE(drafter.error().message.find(part), std::string::npos) << drafter.error().message;
  }
}

TEST(PromptLookup, TakesTheLongestMatchAndOfEqualsTheLatest) {
  const auto drafter = make("prompt-lookup", 100);
  Draft draft;
  // "1 2 3" is followed by 10, then by 20; "0 1 2 3" by 30, before both.
  const std::vector<uint32_t> latest = {1, 2, 3, 10, 9, 1, 2, 3, 20, 8, 1, 2, 3};
  ASSERT_TRUE(drafter->propose({latest, latest.size(), 3, latest.size()}, draft).ok());
  EXPECT_EQ(draft.tokens, (std::vector<uint32_t>{20, 8, 1}));
  const std::vector<uint32_t> longest = {0, 1, 2, 3, 30, 7, 1, 2, 3, 20, 8, 0, 1, 2, 3};
  draft.clear();
  ASSERT_TRUE(drafter->propose({longest, longest.size(), 2, longest.size()}, draft).ok());
  EXPECT_EQ(draft.tokens, (std::vector<uint32_t>{30, 7}));
  // Two tokens are too few.
  const std::vector<uint32_t> brief = {5, 1, 2, 3, 6, 1, 2};
  draft.clear();
  ASSERT_TRUE(drafter->propose({brief, brief.size(), 2, brief.size()}, draft).ok());
  EXPECT_EQ(draft.size(), 0u);
}

TEST(PromptLookup, CopiesItsOwnGuessesWhereTheTextGoesInCircles) {
  const auto drafter = make("prompt-lookup", 100);
  Draft draft;
  const std::vector<uint32_t> text = {1, 2, 1, 2, 1, 2, 1, 2};
  ASSERT_TRUE(drafter->propose({text, text.size(), 6, text.size()}, draft).ok());
  EXPECT_EQ(draft.tokens, (std::vector<uint32_t>{1, 2, 1, 2, 1, 2}));
}

}  // namespace
}  // namespace splitd

// What every backend has to do with a golden model: hidden states after each layer, logits, greedy
// tokens, trees and chunks, against what transformers computed in fp32.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/engine/golden_model.h"

namespace splitd {

// DESIGN: within 2e-5 of the largest |h| of the layer. Gemma 3's own cached run differs by 5e-4.
inline double golden_tolerance(const ModelConfig& config) {
  return config.family.starts_with("gemma3") ? 5e-4 : 2e-5;
}

inline HandSession golden_session(const GoldenModel& model, Backend& backend) {
  const auto n_ctx = static_cast<uint32_t>(*model.json().find("session_length")->to_u64());
  return {backend, {n_ctx, 8, KvType::f32}};
}

inline std::vector<uint32_t> longest_prompt(const GoldenModel& model) {
  const Json prompts = *model.json().find("prompts");
  std::vector<uint32_t> tokens;
  for (const Json prompt : prompts.elements()) tokens = integers<uint32_t>(*prompt.find("tokens"));
  EXPECT_EQ(tokens.size(), 45u);
  return tokens;
}

inline void check_hidden_states(const GoldenModel& model, Backend& backend) {
  const double tolerance = golden_tolerance(model.config());
  const std::vector<uint32_t> tokens = longest_prompt(model);
  HandSession hand = golden_session(model, backend);
  TimelineRequest request;
  request.append = Frame{.first = 0, .base = kNoRow, .n_row = 45, .commit = true};
  const std::vector<float> hidden =
      hand.run(tokens, request, [&](int layer, const std::vector<float>& h) {
        const std::string name =
            layer < 0 ? "hidden.embed" : "hidden.layer." + std::to_string(layer);
        EXPECT_LE(relative_error(h, model.expected(name)), tolerance) << name;
      });
  std::vector<float> normed(hidden.size());
  backend.norm(hidden, normed.data());
  EXPECT_LE(relative_error(normed, model.expected("hidden.norm")), tolerance);
}

inline void check_logits_and_greedy_tokens(const GoldenModel& model, Backend& backend) {
  const uint32_t n_vocab = model.config().n_vocab;
  const Json prompts = *model.json().find("prompts");
  for (const Json prompt : prompts.elements()) {
    const auto tokens = integers<uint32_t>(*prompt.find("tokens"));
    const auto greedy = integers<uint32_t>(*prompt.find("greedy"));
    HandSession hand = golden_session(model, backend);
    std::vector<float> logits = hand.logits(hand.append(tokens));
    const std::string name = "logits." + std::to_string(tokens.size());
    EXPECT_LE(relative_error(logits, model.expected(name)), golden_tolerance(model.config()))
        << name;
    std::vector<uint32_t> got;
    while (got.size() < greedy.size()) {
      const auto last = logits.end() - n_vocab;
      got.push_back(static_cast<uint32_t>(std::max_element(last, logits.end()) - last));
      if (got.size() < greedy.size()) logits = hand.logits(hand.append({got.back()}));
    }
    EXPECT_EQ(got, greedy) << tokens.size();
  }
}

inline void check_tree_rows(const GoldenModel& model, Backend& backend) {
  const Json tree = *model.json().find("tree");
  const auto prefix = integers<uint32_t>(*tree.find("prefix"));
  const auto tokens = integers<uint32_t>(*tree.find("tokens"));
  const auto parents = integers<int32_t>(*tree.find("parents"));
  HandSession hand = golden_session(model, backend);
  hand.append(prefix);
  const std::vector<float> hidden = hand.append(tokens, parents);
  const std::vector<float> logits = hand.logits(hidden);
  EXPECT_LE(relative_error(logits, model.expected("tree.logits")),
            golden_tolerance(model.config()));
  const size_t d = model.config().d_model;
  for (size_t row = 0; row < tokens.size(); ++row) {
    std::vector<uint32_t> path;
    for (auto at = static_cast<int32_t>(row); at >= 0; at = parents[static_cast<size_t>(at)]) {
      path.insert(path.begin(), tokens[static_cast<size_t>(at)]);
    }
    HandSession alone = golden_session(model, backend);
    alone.append(prefix);
    std::vector<float> last;
    for (const uint32_t token : path) last = alone.append({token});
    const auto begin = hidden.begin() + static_cast<std::ptrdiff_t>(row * d);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), begin)) << "row " << row;
  }
}

// The logits of all rows of the longest prompt, so many rows at a time.
inline std::vector<float> logits_in_chunks(const GoldenModel& model, Backend& backend,
                                           size_t chunk) {
  const std::vector<uint32_t> tokens = longest_prompt(model);
  HandSession hand(backend, {64, 4, KvType::f16});
  std::vector<float> all;
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
    const size_t n = std::min(chunk, tokens.size() - at);
    const std::vector<float> logits =
        hand.logits(hand.append({begin, begin + static_cast<std::ptrdiff_t>(n)}));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

}  // namespace splitd

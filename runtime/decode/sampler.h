// Owns: logits → one token. The order of steps is that of transformers: penalties and bias,
// temperature, top-k, top-p, min-p, then one draw over what is left in the order (logit descending,
// id ascending) with f64 sums. The token is a function of the logits, the tokens before it, the
// seed and the position, and of nothing else. Allocates at construction only. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

inline constexpr float kMostBias = 1e4f;  // forbids a token, or leaves no other

struct SamplingOptions {
  double temperature = 0;  // 0: the largest logit
  uint32_t top_k = 0;      // 0: all
  double top_p = 1;
  double min_p = 0;
  double repeat_penalty = 1;     // over all tokens before, the prompt among them
  double presence_penalty = 0;   // over generated tokens
  double frequency_penalty = 0;  // over generated tokens, once per occurrence
  std::vector<std::pair<uint32_t, float>> logit_bias = {};  // id, what is added
  uint64_t seed = 0;
};

// Names the option, the value and what is accepted.
[[nodiscard]] Status check_sampling(const SamplingOptions& options, uint32_t n_vocab);

class Sampler {
 public:
  // Requires check_sampling(options, n_vocab).ok().
  Sampler(SamplingOptions options, uint32_t n_vocab);

  const SamplingOptions& options() const { return options_; }

  // The tokens before the row that is sampled next, as the text grows and is cut back.
  void push(uint32_t token, bool generated);
  void pop(uint32_t token, bool generated);  // undoes a push

  // The token at `position`, which follows the rows 0 … position−1. `logits` (n_vocab) is changed.
  // Refuses logits that are not finite, naming the first.
  [[nodiscard]] Result<uint32_t> sample(std::span<float> logits, uint64_t position);

 private:
  struct Candidate {
    float logit;
    uint32_t id;
  };
  struct Count {
    uint32_t all = 0;
    uint32_t generated = 0;
  };

  void penalise(std::span<float> logits) const;
  uint32_t draw(std::span<const float> logits, uint64_t position);
  void sort_until(size_t count);

  SamplingOptions options_;
  bool has_penalty_;
  bool is_greedy_;
  std::vector<Count> counts_;          // by token
  std::vector<uint32_t> seen_;         // tokens whose count is or was not zero, each once
  std::vector<uint8_t> is_seen_;       // by token: whether it stands in seen_
  std::vector<Candidate> candidates_;  // n_vocab of them; the first n_sorted_ are in order
  size_t n_sorted_ = 0;
};

}  // namespace splitd

// Owns: guesses by looking the last few tokens up in the text before them ("prompt lookup"): the
// longest n-gram that stood there, the latest of equals, and what followed it. Keeps no index: one
// pass over the text a step (some µs for 32k tokens) is less than an index costs.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/estimate.h"

namespace splitd {

struct PromptLookupOptions {
  uint32_t longest = 7;   // tokens that have to match: tried first
  uint32_t shortest = 3;  // at least 1
};

class PromptLookupDrafter final : public Drafter {
 public:
  explicit PromptLookupDrafter(const PromptLookupOptions& options = {});

  std::string_view name() const override { return "prompt-lookup"; }
  void begin(std::span<const uint32_t>) override {}
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  static constexpr uint32_t kDepths = 6;  // 0, 1, 2–3, 4–7, 8–15, more
  static constexpr uint32_t kMostLength = 64;

  struct Match {
    size_t end = 0;       // the first token that followed it
    uint32_t length = 0;  // 0: none
  };
  Match find(std::span<const uint32_t> text) const;
  Rate& rate(uint32_t length, uint32_t depth);

  PromptLookupOptions options_;
  // That the guess at a depth is right where those before it are, by the length of the match.
  std::array<std::array<Rate, kDepths>, kMostLength + 1> rates_;
};

}  // namespace splitd

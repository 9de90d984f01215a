// Owns: guesses from what stood in the prompt, the output and earlier texts: a tree of what
// followed the longest suffixes there (SuffixModel), as deep as it is likely.
#pragma once

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/guess.h"
#include "runtime/decode/drafters/history.h"
#include "runtime/decode/drafters/suffix_model.h"

namespace splitd {

class TokenCorpus;

class SuffixDrafter final : public Drafter {
 public:
  // `corpus`: earlier sessions' texts, or nullptr.
  explicit SuffixDrafter(const TokenCorpus* corpus = nullptr,
                         uint32_t capacity = SuffixModel::kDefaultCapacity);

  std::string_view name() const override { return "suffix"; }
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  void follow(std::span<const uint32_t> text, std::span<const uint32_t> more, bool learn);

  SuffixModel model_;
  History history_;
  DepthShift shift_;
  TreeSearch<SuffixModel::Place> search_;
};

}  // namespace splitd

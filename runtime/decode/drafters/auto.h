// Owns: the drafter that is used unless another is asked for: one tree out of all that costs next
// to nothing to ask (earlier text and recycled logits; README.md says why no others), where a token
// that both name is one row. Where nothing is likely it proposes nothing.
#pragma once

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/follower_model.h"
#include "runtime/decode/drafters/guess.h"
#include "runtime/decode/drafters/history.h"

namespace splitd {

class AutoDrafter final : public Drafter {
 public:
  explicit AutoDrafter(uint32_t n_vocab, const TokenCorpus* corpus = nullptr)
      : model_(n_vocab, corpus) {}

  std::string_view name() const override { return "auto"; }
  uint32_t n_top() const override { return RecycleTable::kTop; }
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  void follow(std::span<const uint32_t> text, std::span<const uint32_t> more, bool learn);

  FollowerModel model_;
  History history_;
  DepthShift shift_;
  TreeSearch<FollowerModel::Place> search_;
};

}  // namespace splitd

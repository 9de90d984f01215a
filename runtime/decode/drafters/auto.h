// Owns: the drafter that is used unless another is asked for: one tree out of all that costs next
// to nothing to ask (earlier text, recycled logits, rows that were alike; README.md says why no
// others), where a token that several name is one row. Where nothing is likely it proposes nothing.
#pragma once

#include <chrono>

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
  uint32_t n_top() const override { return KinModel::kTop; }
  bool use(TokenSketches& tokens) override;
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;
  void study(std::span<const uint32_t> text, const SeenRow& row) override;
  bool work() override { return model_.kin().digest(); }

 private:
  void take(const RecycleTable::Place& place, const SeenRow& row);
  void follow(std::span<const uint32_t> text, std::span<const uint32_t> more, bool learn);

  FollowerModel model_;
  History history_;
  DepthShift shift_;
  TreeSearch<FollowerModel::Place> search_;
};

}  // namespace splitd

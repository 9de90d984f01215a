// Owns: guesses from the model's own earlier opinions (RecycleTable): a tree, breadth by how likely
// each rank has proved.
#pragma once

#include <vector>

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/guess.h"
#include "runtime/decode/drafters/recycle_table.h"

namespace splitd {

class RecycleDrafter final : public Drafter {
 public:
  explicit RecycleDrafter(uint32_t n_vocab) : table_(n_vocab) {}

  std::string_view name() const override { return "recycle"; }
  uint32_t n_top() const override { return RecycleTable::kTop; }
  void begin(std::span<const uint32_t>) override {}
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;
  void study(std::span<const uint32_t> text, const SeenRow& row) override;

 private:
  RecycleTable table_;
  DepthShift shift_;
  TreeSearch<RecycleTable::Place> search_;
};

// The context of a row of `seen.draft`, or of the last token (−1).
RecycleTable::Place recycle_place(const StepSeen& seen, int32_t row);

}  // namespace splitd

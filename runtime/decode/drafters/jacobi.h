// Owns: Jacobi decoding: a block of guesses in a row, all computed at once; what the model says
// after each of them is the next guess at the place behind it. After t steps at least the first t
// tokens of a block are those of one-by-one decoding, so a block takes as many steps at most as it
// has tokens, and fewer where the model finds its way from a wrong context too.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/estimate.h"

namespace splitd {

class JacobiDrafter final : public Drafter {
 public:
  static constexpr uint32_t kBlock = 16;

  explicit JacobiDrafter(uint32_t block = kBlock);

  std::string_view name() const override { return "jacobi"; }
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  static constexpr uint32_t kMostAge = 6, kDepths = 5;
  struct Guessed {
    uint32_t token;
    uint32_t age;  // how often the model has said so in a row; 0: nobody has, it fills the block
  };

  Guessed at(size_t position, std::span<const uint32_t> text) const;
  Rate& rate(uint32_t age, uint32_t depth);

  uint32_t block_;
  size_t first_ = 0;  // the position that guesses_[0] is for
  std::vector<Guessed> guesses_;
  std::vector<Guessed> next_;  // scratch
  // That a guess is right where those before it are.
  std::array<std::array<Rate, kDepths>, kMostAge + 1> rates_;
};

}  // namespace splitd

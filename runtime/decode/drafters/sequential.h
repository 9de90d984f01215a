// Owns: no guesses: one token a step.
#pragma once

#include "runtime/decode/drafter.h"

namespace splitd {

class SequentialDrafter final : public Drafter {
 public:
  std::string_view name() const override { return "sequential"; }
  void begin(std::span<const uint32_t>) override {}
  Status propose(const DraftRequest&, Draft&) override { return {}; }
  void observe(const StepSeen&) override {}
};

}  // namespace splitd

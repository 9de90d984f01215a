// Owns: drafters by name, as `--decoder` and scripts know them (tools/CLI.md).
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/decode/drafter.h"

namespace splitd {

class TokenCorpus;

struct DraftModel;

struct DrafterOptions {
  uint32_t n_vocab = 0;
  uint32_t n_gram = 0;  // prompt-lookup: the only length looked up; 0: 7 down to 3
  // suffix and auto: earlier sessions' texts; may be gone once the drafter is made.
  const TokenCorpus* corpus = nullptr;
  // draft and early-exit: what guesses. check_same_vocabulary() has passed.
  const DraftModel* model = nullptr;
};

// All names, in the order of CLI.md.
[[nodiscard]] std::span<const std::string_view> drafter_names();

// Whether a drafter of this name needs DrafterOptions::model.
[[nodiscard]] bool drafter_needs_model(std::string_view name);

// Refuses an unknown name with all that are known, and a drafter that lacks its model.
[[nodiscard]] Result<std::unique_ptr<Drafter>> make_drafter(std::string_view name,
                                                            const DrafterOptions& options);

}  // namespace splitd

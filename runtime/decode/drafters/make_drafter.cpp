#include "runtime/decode/drafters/make_drafter.h"

#include <array>
#include <string>

#include "runtime/decode/drafters/auto.h"
#include "runtime/decode/drafters/jacobi.h"
#include "runtime/decode/drafters/lookahead.h"
#include "runtime/decode/drafters/model_drafter.h"
#include "runtime/decode/drafters/prompt_lookup.h"
#include "runtime/decode/drafters/recycle.h"
#include "runtime/decode/drafters/sequential.h"
#include "runtime/decode/drafters/suffix.h"

namespace splitd {

static constexpr std::array<std::string_view, 9> kNames = {
    "auto",   "sequential", "jacobi", "lookahead", "prompt-lookup",
    "suffix", "recycle",    "draft",  "early-exit"};

std::span<const std::string_view> drafter_names() {
  return kNames;
}

bool drafter_needs_model(std::string_view name) {
  return name == "draft" || name == "early-exit";
}

Result<std::unique_ptr<Drafter>> make_drafter(std::string_view name,
                                              const DrafterOptions& options) {
  using Made = std::unique_ptr<Drafter>;
  if (name == "auto") return Made(new AutoDrafter(options.n_vocab, options.corpus));
  if (name == "sequential") return Made(new SequentialDrafter());
  if (name == "jacobi") return Made(new JacobiDrafter());
  if (name == "lookahead") return Made(new LookaheadDrafter());
  if (name == "prompt-lookup") {
    PromptLookupOptions lookup;
    if (options.n_gram != 0) lookup = {options.n_gram, options.n_gram};
    return Made(new PromptLookupDrafter(lookup));
  }
  if (name == "suffix") return Made(new SuffixDrafter(options.corpus));
  if (name == "recycle") return Made(new RecycleDrafter(options.n_vocab));
  if (drafter_needs_model(name)) {
    if (options.model == nullptr) {
      return usage_error("drafter '" + std::string(name) + "' needs a model to guess with");
    }
    SPLITD_ASSIGN(Made made, ModelDrafter::open(std::string(name), *options.model, {}));
    return made;
  }
  std::string all;
  for (const std::string_view known : kNames) all += (all.empty() ? "" : ", ") + std::string(known);
  return usage_error("drafter '" + std::string(name) + "' is not known; there are " + all);
}

}  // namespace splitd

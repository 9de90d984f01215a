#include "runtime/decode/drafters/suffix.h"

#include "runtime/decode/drafters/corpus.h"

namespace splitd {

SuffixDrafter::SuffixDrafter(const TokenCorpus* corpus, uint32_t capacity) : model_(capacity) {
  if (corpus != nullptr) model_.append_corpus(*corpus);
}

void SuffixDrafter::follow(std::span<const uint32_t> text, std::span<const uint32_t> more,
                           bool learn) {
  history_.follow(
      text, more, [&] { model_.begin_text(); },
      [&](uint32_t token) { model_.append(token, learn); });
}

void SuffixDrafter::begin(std::span<const uint32_t> prompt) {
  follow(prompt, {}, false);
}

Status SuffixDrafter::propose(const DraftRequest& request, Draft& draft) {
  follow(request.text.first(request.n_certain), {}, false);
  SuffixModel::Place root = model_.end();
  for (const uint32_t token : request.text.subspan(request.n_certain)) {
    root = model_.enter(root, token);
  }
  search_.run(
      root, request.budget, draft,
      [&](SuffixModel::Place place, uint32_t depth, std::vector<Guess>& out) {
        model_.guesses(place, out);
        for (Guess& guess : out) guess.probability = shift_.apply(guess.probability, depth);
      },
      [&](SuffixModel::Place place, uint32_t token) { return model_.enter(place, token); });
  return {};
}

void SuffixDrafter::observe(const StepSeen& seen) {
  each_judged_row(seen, [&](int32_t, uint32_t depth, float claimed, bool hit) {
    shift_.learn(claimed, depth, hit);
  });
  if (!history_.holds(seen.text, seen.accepted)) follow(seen.text, seen.accepted, true);
}

}  // namespace splitd

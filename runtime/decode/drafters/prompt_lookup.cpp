#include "runtime/decode/drafters/prompt_lookup.h"

#include <algorithm>
#include <bit>

#include "runtime/decode/drafters/guess.h"

namespace splitd {

PromptLookupDrafter::PromptLookupDrafter(const PromptLookupOptions& options) {
  options_.shortest = std::clamp(options.shortest, 1u, kMostLength);
  options_.longest = std::clamp(options.longest, options_.shortest, kMostLength);
  for (uint32_t length = 0; length <= kMostLength; ++length) {
    for (uint32_t depth = 0; depth < kDepths; ++depth) {
      // A longer match goes on more likely, and so does one that has gone on for long.
      const float seen = static_cast<float>(length) + 2 * static_cast<float>(depth);
      rates_[length][depth] = Rate(seen / (seen + 3), 4);
    }
  }
}

Rate& PromptLookupDrafter::rate(uint32_t length, uint32_t depth) {
  const auto bucket = static_cast<uint32_t>(std::bit_width(depth));
  return rates_[length][std::min(bucket, kDepths - 1)];
}

PromptLookupDrafter::Match PromptLookupDrafter::find(std::span<const uint32_t> text) const {
  Match best;
  if (text.size() < 2) return best;
  const size_t last = text.size() - 1;
  for (size_t at = last; at-- > 0;) {
    if (text[at] != text[last]) continue;
    uint32_t length = 1;
    const size_t most = std::min<size_t>(options_.longest, at + 1);
    while (length < most && text[at - length] == text[last - length]) ++length;
    if (length > best.length) best = {at + 1, length};
    if (length == options_.longest) break;
  }
  if (best.length < options_.shortest) best.length = 0;
  return best;
}

Status PromptLookupDrafter::propose(const DraftRequest& request, Draft& draft) {
  const Match match = find(request.text);
  if (match.length == 0) return {};
  const size_t n_text = request.text.size();
  float path = 1;
  for (uint32_t depth = 0; depth < request.budget; ++depth) {
    path *= in_bounds(rate(match.length, depth).value());
    if (path < kLeastPath) break;
    // Past the end of the text it copies what it has just guessed: the text goes in circles.
    const size_t from = match.end + depth;
    const uint32_t token = from < n_text ? request.text[from] : draft.tokens[from - n_text];
    draft.add(token, static_cast<int32_t>(depth) - 1, path);
  }
  return {};
}

void PromptLookupDrafter::observe(const StepSeen& seen) {
  if (seen.draft->size() == 0) return;
  const Match match = find(seen.text);
  if (match.length == 0) return;
  each_judged_row(seen, [&](int32_t, uint32_t depth, float, bool hit) {
    rate(match.length, depth).learn(hit);
  });
}

}  // namespace splitd

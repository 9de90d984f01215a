#include "runtime/decode/drafters/jacobi.h"

#include <algorithm>
#include <bit>

#include "runtime/decode/drafters/guess.h"

namespace splitd {

JacobiDrafter::JacobiDrafter(uint32_t block) : block_(std::max(1u, block)) {
  guesses_.reserve(block_ + 1);
  next_.reserve(block_ + 1);
  for (uint32_t age = 0; age <= kMostAge; ++age) {
    const float x = static_cast<float>(age);
    rates_[age].fill(Rate((x + 0.1f) / (x + 2), 4));
  }
}

Rate& JacobiDrafter::rate(uint32_t age, uint32_t depth) {
  const auto bucket = static_cast<uint32_t>(std::bit_width(depth));
  return rates_[std::min(age, kMostAge)][std::min(bucket, kDepths - 1)];
}

void JacobiDrafter::begin(std::span<const uint32_t> prompt) {
  guesses_.clear();
  first_ = prompt.size();
}

// The guess for a position: the model's, or else what stood a block before it in the text, which is
// as good as any and right where the text repeats itself.
JacobiDrafter::Guessed JacobiDrafter::at(size_t position, std::span<const uint32_t> text) const {
  if (position >= first_ && position - first_ < guesses_.size()) return guesses_[position - first_];
  const size_t ahead = (position - text.size()) % text.size();
  const size_t back = std::min<size_t>(block_, text.size());
  return {text[text.size() - back + ahead % back], 0};
}

Status JacobiDrafter::propose(const DraftRequest& request, Draft& draft) {
  if (request.text.empty()) return {};
  const uint32_t n = std::min(block_, request.budget);
  float path = 1;
  for (uint32_t i = 0; i < n; ++i) {
    const Guessed guess = at(request.text.size() + i, request.text);
    path *= in_bounds(rate(guess.age, i).value());
    // All of the block is wanted, however unlikely: it is what the next one is made of.
    draft.add(guess.token, static_cast<int32_t>(i) - 1, path, true);
  }
  return {};
}

void JacobiDrafter::observe(const StepSeen& seen) {
  const Draft& draft = *seen.draft;
  const size_t n_text = seen.text.size();
  each_judged_row(seen, [&](int32_t row, uint32_t depth, float, bool hit) {
    rate(at(n_text + static_cast<size_t>(row), seen.text).age, depth).learn(hit);
  });
  // Row i stands at n_text + i: what follows it is for the position behind that.
  const size_t n_known = n_text + seen.accepted.size();
  next_.clear();
  for (const SeenRow& row : seen.rows) {
    const size_t position = n_text + static_cast<size_t>(row.row + 1);
    if (position < n_known) continue;
    if (position != n_known + next_.size()) break;
    const bool again = static_cast<size_t>(row.row + 1) < draft.size() &&
                       draft.tokens[static_cast<size_t>(row.row + 1)] == row.next;
    const uint32_t age = again ? at(position, seen.text).age : 0;
    next_.push_back({row.next, age + 1});
  }
  guesses_.swap(next_);
  first_ = n_known;
}

}  // namespace splitd

#include "runtime/decode/drafters/lookahead.h"

#include <algorithm>

#include "runtime/decode/drafters/guess.h"

namespace splitd {

// The authors' settings for small models are W = G = 15 and N = 5 (120 rows); a budget that is
// smaller takes fewer columns first, then shorter n-grams.
LookaheadDrafter::Shape LookaheadDrafter::shape_for(uint32_t budget) const {
  Shape shape;
  shape.n_gram = options_.n_gram != 0 ? options_.n_gram : budget >= 48 ? 5 : budget >= 18 ? 4 : 3;
  shape.n_gram = std::clamp(shape.n_gram, 3u, kMostGram);
  const uint32_t fitting = budget / (2 * (shape.n_gram - 1));
  shape.window = options_.window != 0 ? options_.window : std::min(fitting, 15u);
  shape.window = std::clamp(shape.window, 1u, kMostColumns);
  shape.candidates = options_.candidates != 0 ? options_.candidates : shape.window;
  shape.candidates = std::clamp(shape.candidates, 1u, NgramPool::kMostOfSet);
  return shape;
}

void LookaheadDrafter::begin(std::span<const uint32_t>) {
  n_level_ = 0;
  proposed_at_ = 0;
}

// Level 0 begins with tokens of the text at random; the others come from the model, one a step.
void LookaheadDrafter::restart(std::span<const uint32_t> text) {
  n_level_ = 1;
  n_column_ = shape_.window + shape_.n_gram - 2;
  for (uint32_t column = 0; column < n_column_; ++column) {
    random_ = random_ * 1664525u + 1013904223u;
    cell(0, column) = text[(random_ >> 8) % text.size()];
  }
}

// Rows of all candidates, the likelier path first; what they have in common once.
void LookaheadDrafter::add_candidates(uint32_t last, uint32_t budget, Draft& draft) {
  const uint32_t n = std::min(pool_.size(last), shape_.candidates);
  const uint32_t n_rest = shape_.n_gram - 1;
  sorted_.clear();
  for (uint32_t rank = 0; rank < n; ++rank) {
    float path = 1;
    for (uint32_t depth = 0; depth < n_rest; ++depth) {
      path *= in_bounds(rate(rank, depth).value());
      sorted_.push_back({path, rank, depth});
    }
  }
  std::sort(sorted_.begin(), sorted_.end(), [](const Option& a, const Option& b) {
    if (a.path != b.path) return a.path > b.path;
    return a.rank != b.rank ? a.rank < b.rank : a.depth < b.depth;
  });
  row_of_.assign(size_t{n} * n_rest, -1);
  for (const Option& option : sorted_) {
    const size_t at = size_t{option.rank} * n_rest + option.depth;
    const int32_t parent = option.depth == 0 ? -1 : row_of_[at - 1];
    if (option.depth > 0 && parent < 0) continue;
    const uint32_t token = pool_.get(last, option.rank)[option.depth];
    int32_t row = find_child(draft, parent, token);
    if (row < 0 && draft.size() < budget) row = draft.add(token, parent, option.path);
    row_of_[at] = row;
  }
}

// Column 0 hangs below the last token, column i below level 0 of it.
void LookaheadDrafter::add_window(uint32_t budget, Draft& draft) {
  const auto add = [&](uint32_t token, int32_t parent) {
    int32_t row = find_child(draft, parent, token);
    if (row < 0 && draft.size() >= budget) return int32_t{-1};
    if (row < 0) row = draft.add(token, parent, 0);
    draft.wanted[static_cast<size_t>(row)] = 1;
    return row;
  };
  deepest_.fill(-1);
  int32_t above = -1;
  for (uint32_t column = 0; column < n_column_; ++column) {
    if (column > 0) {
      above = add(cell(0, column), above);
      if (above < 0) return;
    }
    int32_t row = above;
    uint32_t level = 1;
    for (; level < n_level_; ++level) {
      const int32_t below = add(cell(level, column), row);
      if (below < 0) break;
      row = below;
    }
    if (level == n_level_) deepest_[column] = row;
    if (column == 0 && n_level_ == 1) deepest_[0] = kLastToken;
  }
}

Status LookaheadDrafter::propose(const DraftRequest& request, Draft& draft) {
  if (request.budget < 2 || request.text.empty()) return {};
  const Shape shape = shape_for(request.budget);
  // A controller's budget moves a little all the time; the window begins anew only for much.
  if (shape_.window == 0 || shape.n_gram > shape_.n_gram || shape.window >= 2 * shape_.window) {
    shape_ = shape;
    pool_.reset(shape.n_gram - 1, shape.candidates);
    sorted_.reserve(size_t{NgramPool::kMostOfSet} * kMostGram);
    row_of_.reserve(size_t{NgramPool::kMostOfSet} * kMostGram);
    n_level_ = 0;
  }
  const bool is_certain = request.n_certain == request.text.size();
  const uint32_t for_window =
      is_certain ? std::min(shape_.window * (shape_.n_gram - 1), request.budget / 2) : 0;
  add_candidates(request.text.back(), request.budget - for_window, draft);
  if (!is_certain) return {};
  if (n_level_ == 0) restart(request.text);
  cell(0, 0) = request.text.back();
  add_window(request.budget, draft);
  proposed_at_ = request.text.size();
  return {};
}

void LookaheadDrafter::observe(const StepSeen& seen) {
  if (seen.text.empty() || shape_.window == 0) return;
  // A candidate is judged as far as it was sent and those before its end were right.
  const uint32_t last = seen.text.back();
  const uint32_t n = std::min(pool_.size(last), shape_.candidates);
  for (uint32_t rank = 0; rank < n; ++rank) {
    const std::span<const uint32_t> rest = pool_.get(last, rank);
    int32_t row = -1;
    for (uint32_t depth = 0; depth < rest.size() && depth < seen.accepted.size(); ++depth) {
      row = find_child(*seen.draft, row, rest[depth]);
      if (row < 0) break;
      const bool hit = rest[depth] == seen.accepted[depth];
      rate(rank, depth).learn(hit);
      if (!hit) break;
    }
  }
  if (n_level_ > 0 && proposed_at_ == seen.text.size()) advance(seen);
  proposed_at_ = 0;
}

// A step of the window: what the model said after the deepest cells becomes the next level. A cell
// whose row was cut keeps what it had, and is no n-gram.
void LookaheadDrafter::advance(const StepSeen& seen) {
  const uint32_t n_rest = shape_.n_gram - 1;
  const bool is_full = n_level_ == n_rest;
  std::array<uint32_t, kMostGram> gram;
  const uint32_t deepest = n_level_ - 1;
  for (uint32_t column = 0; column < n_column_; ++column) {
    const int32_t sought = deepest_[column] == kLastToken ? -1 : deepest_[column];
    const bool was_sent = deepest_[column] != -1;
    const auto row = std::lower_bound(seen.rows.begin(), seen.rows.end(), sought,
                                      [](const SeenRow& a, int32_t b) { return a.row < b; });
    const bool is_seen = was_sent && row != seen.rows.end() && row->row == sought;
    const uint32_t said = is_seen ? row->next : cell(deepest, column);
    if (is_full && is_seen) {
      for (uint32_t level = 1; level < n_level_; ++level) gram[level - 1] = cell(level, column);
      gram[n_rest - 1] = said;
      pool_.put(cell(0, column), std::span(gram).first(n_rest));
    }
    // Full, the oldest level goes; filling, the columns move on by the place that the text did.
    if (is_full) {
      for (uint32_t level = 0; level < deepest; ++level)
        cell(level, column) = cell(level + 1, column);
      cell(deepest, column) = said;
    } else {
      if (column > 0) {
        for (uint32_t level = 0; level < n_level_; ++level)
          cell(level, column - 1) = cell(level, column);
        cell(n_level_, column - 1) = said;
      }
    }
  }
  if (is_full) return;
  ++n_level_;
  --n_column_;
}

}  // namespace splitd

// A draft in several frames. The body computes them one after another, so the likelier rows are
// back, and in most steps all is known, before the others are computed; only a walk that comes to
// one of those waits for them. What a frame more costs is thus paid as often as a walk comes to it
// or to one behind it, where the reach of row n is: the probability that the walk goes from the
// rows before n to one that is not before it.
#include <algorithm>

#include "runtime/decode/controller.h"

namespace splitd {
namespace {

// What a frame and a row that most often die must bring beyond their time: traffic, and the time
// of others whom the body serves.
constexpr double kLeastOfFrame = 0.03;  // tokens
constexpr double kLeastOfRow = 0.003;
constexpr uint32_t kAllSizes = 12;  // beyond so many rows, only every fourth is looked at

}  // namespace

DraftParts DraftParts::even(uint32_t n_row, uint32_t n_part) {
  DraftParts out;
  out.n_part = std::clamp(std::min(n_part, n_row), 1u, kMost);
  for (uint32_t i = 0; i < out.n_part; ++i) out.end[i] = n_row * (i + 1) / out.n_part;
  return out;
}

// Expected: of a frame behind others, to which the walk comes with this probability.
double Controller::rest_ms(uint32_t n_row, double reach) const {
  const double body_ms = body_.at(n_row), link_ms = link_.row_ms() * n_row;
  // While they are computed, the tail works on those before; what comes of them has batches of its
  // own there.
  const double waited_ms = std::max(0.0, body_ms + link_ms - tail_.at(1)) + tail_.at(2);
  // Where nobody comes, they are in the way of the next step as far as they outlast a round trip.
  const double up_ms = link_ms * std::max(up_share_, 1 - up_share_);
  const double in_the_way_ms = std::max(0.0, std::max(body_ms, up_ms) - link_.rtt_ms());
  return reach * waited_ms + (1 - reach) * in_the_way_ms;
}

// The reach of each row below n_row where the draft ends there.
static void reaches(std::span<const float> probability, std::span<const int32_t> parent,
                    std::span<double> reach) {
  std::fill(reach.begin(), reach.end(), 0.0);
  for (size_t i = 0; i < reach.size(); ++i) {
    for (size_t at = static_cast<size_t>(parent[i] + 1); at <= i; ++at) {
      reach[at] += static_cast<double>(probability[i]);
    }
  }
  for (double& one : reach) one = std::min(one, 1.0);
}

// Expected, of the whole step.
double Controller::parts_ms(const Cuts& cuts, const DraftParts& parts,
                            const FrameMs& frame_ms) const {
  std::array<double, kMostRows> reach;
  reaches(cuts.probability, cuts.parent, std::span(reach).first(parts.n_row()));
  double ms = frame_ms[parts.end[0] + 1] + static_cast<double>(cuts.tail_ms[parts.end[0]]);
  for (uint32_t i = 1; i < parts.n_part; ++i) {
    ms += rest_ms(parts.end[i] - parts.end[i - 1], reach[parts.end[i - 1]]);
  }
  return ms;
}

// The best way to send the draft's first n_row rows, in frames of at most `most`; what it is worth.
double Controller::best_parts(const Cuts& cuts, uint32_t n_row, uint32_t most, uint32_t most_parts,
                              const FrameMs& frame_ms, double price, DraftParts& best) const {
  constexpr double kNever = 1e300;
  std::array<double, kMostRows> reach;
  reaches(cuts.probability, cuts.parent, std::span(reach).first(n_row));
  const auto cost = [&](uint32_t begin, uint32_t end) {
    if (end - begin > most) return kNever;
    return price * rest_ms(end - begin, reach[begin]) + kLeastOfFrame;
  };
  double least = kNever;
  for (uint32_t first = 0; first <= std::min(n_row, most); ++first) {
    double rest = first == n_row ? 0 : most_parts > 1 ? cost(first, n_row) : kNever;
    uint32_t middle = n_row;
    for (uint32_t at = first + 1; at < n_row && most_parts > 2; ++at) {
      const double two = cost(first, at) + cost(at, n_row);
      if (two >= rest) continue;
      rest = two;
      middle = at;
    }
    const double all =
        price * (frame_ms[first + 1] + static_cast<double>(cuts.tail_ms[first])) + rest;
    if (all >= least) continue;
    least = all;
    best = {1, {first}};
    if (middle < n_row) best.end[best.n_part++] = middle;
    if (first < n_row) best.end[best.n_part++] = n_row;
  }
  return static_cast<double>(cuts.more_tokens[n_row]) - kLeastOfRow * n_row - least;
}

// Tokens a ms, as the last drafts were sent.
double Controller::parts_price(const FrameMs& frame_ms) const {
  double n_token = 0, ms = 0;
  for (uint32_t i = 0; i < n_recent_; ++i) {
    const Cuts& cuts = recent_[i];
    n_token += static_cast<double>(cuts.more_tokens[cuts.parts.n_row()]);
    ms += parts_ms(cuts, cuts.parts, frame_ms);
  }
  return ms > 0 ? n_token / ms : 0;
}

// Not worse than the draft's first n rows in one frame.
DraftParts Controller::choose_parts(const Cuts& cuts, uint32_t n, uint32_t most,
                                    uint32_t most_parts, const FrameMs& frame_ms) const {
  DraftParts out = cuts.parts, parts;
  if (most_parts < 2 || !link_.is_known() || price_ <= 0) return out;
  const double price = std::max(price_, parts_price(frame_ms));
  double most_worth = worth(cuts, n, frame_ms, price);
  for (uint32_t n_row = 0; n_row <= cuts.n_row; n_row += n_row < kAllSizes ? 1 : 4) {
    const double one = best_parts(cuts, n_row, most, most_parts, frame_ms, price, parts);
    if (one <= most_worth) continue;
    most_worth = one;
    out = parts;
  }
  return out;
}

}  // namespace splitd

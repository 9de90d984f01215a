// A draft's row is worth sending when the tokens that it is expected to bring are more than those
// that its time would bring otherwise. The price of time is the pace at which tokens could come:
// what maximises (tokens − price × time) of each step maximises tokens over time (Dinkelbach). It
// is that of the last drafts at what frames cost now, so it is right at once where costs changed.
#include "runtime/decode/controller.h"

#include <algorithm>
#include <cmath>

#include "runtime/decode/tail_waves.h"

namespace splitd {
namespace {

constexpr double kRowsFade = 0.92;    // of the largest draft lately, by the step
constexpr int kPriceRounds = 3;       // they double the right digits each
constexpr double kLearnShare = 0.01;  // of the time may go into learning what other frames cost
constexpr double kBlindShare = 0.02;  // where nobody knows what a row costs the link
constexpr double kLearnMost = 1;      // of a step, of time saved up for learning
constexpr double kHopedFor = 0.02;    // of a step's tokens: less is not worth trying
constexpr uint32_t kTryWave = 8;      // batches of the tail from one that tries a size to the next
constexpr double kWaveShare = 0.05;   // of a step, that such a batch may take longer
constexpr double kLeastSaved = 0.08;  // of a step, by a frame below the leaf
constexpr double kGuessShare = 0.02;  // of a step
constexpr double kGuessMost = 0.5;    // ms
constexpr double kFarMs = 5;          // a round trip with time for other work
constexpr double kWantedTokens =
    0.02;  // that a wanted row brings: about what published windows of rows do

}  // namespace

Controller::Controller(const ControllerLimits& limits) : limits_(limits) {
  limits_.most_rows = std::clamp(limits_.most_rows, 1u, CostCurve::kMostRows);
}

uint32_t Controller::budget() const {
  const double rows = std::max(8.0, 2 * worth_rows_ + 2);
  const uint32_t most = limits_.most_frames > 1 ? kMostRows : limits_.most_rows;
  return std::min(most - 1, static_cast<uint32_t>(rows));
}

Controller::FrameMs Controller::frame_ms(Costs costs) const {
  FrameMs ms{};
  for (uint32_t n = 1; n <= kMostRows; ++n) {
    ms[n] = costs == Costs::hoped ? head_.least(n) + link_.least(n) + body_.least(n)
                                  : head_.at(n) + link_.at(n) + body_.at(n);
  }
  return ms;
}

FrameEstimate Controller::estimate(uint32_t n_row, uint32_t n_tail_row) const {
  return {.head_ms = head_.at(n_row),
          .rtt_ms = link_.rtt_ms(),
          .link_ms = link_.row_ms() * n_row,
          .body_ms = body_.at(n_row),
          .tail_ms = tail_.at(n_tail_row)};
}

double Controller::guess_ms() const {
  return std::min(kGuessMost, kGuessShare * mean_ms_);
}

double Controller::spare_ms() const {
  return link_.is_known() && link_.rtt_ms() >= kFarMs ? link_.rtt_ms() / 2 : 0;
}

void Controller::cut(const Draft& draft, uint32_t n_last, Costs costs, Cuts& cuts) const {
  cuts.n_row = static_cast<uint32_t>(std::min<size_t>(draft.size(), kMostRows - n_last));
  cuts.n_last = n_last;
  cuts.parts = DraftParts::whole(0);
  double n_token = n_last, later = 0, beside = 0;
  TailWaves waves(tail_, costs == Costs::hoped);
  waves.add(1);
  double path_ms = waves.ms(1);
  const double one_ms = tail_.at(1);
  int32_t leaf = -1;  // of the likeliest path
  for (uint32_t n = 0; n <= cuts.n_row; ++n) {
    if (n > 0) {
      const double p = std::clamp(static_cast<double>(draft.probabilities[n - 1]), 0.0, 1.0);
      n_token += p;
      cuts.probability[n - 1] = static_cast<float>(p);
      cuts.parent[n - 1] = draft.parents[n - 1];
      if (draft.wanted[n - 1] != 0) later += kWantedTokens;
      if (draft.parents[n - 1] == leaf) {
        waves.add(p);
        path_ms = waves.ms(waves.best());
        leaf = static_cast<int32_t>(n - 1);
      } else {
        beside += p;  // a walk that leaves the path there takes a batch of its own
      }
    }
    cuts.tokens[n] = static_cast<float>(n_token);
    cuts.more_tokens[n] = static_cast<float>(n_token + later);
    cuts.tail_ms[n] = static_cast<float>(path_ms + beside * one_ms);
  }
}

double Controller::worth(const Cuts& cuts, uint32_t n, const FrameMs& frame_ms, double price) {
  const double ms = frame_ms[n + cuts.n_last] + static_cast<double>(cuts.tail_ms[n]);
  return static_cast<double>(cuts.more_tokens[n]) - price * ms;
}

// The best cut of at most `most` rows.
uint32_t Controller::best(const Cuts& cuts, uint32_t most, const FrameMs& frame_ms, double price) {
  uint32_t best = 1 - cuts.n_last;
  double most_worth = worth(cuts, best, frame_ms, price);
  for (uint32_t n = best + 1; n <= std::min(cuts.n_row, most); ++n) {
    const double one = worth(cuts, n, frame_ms, price);
    if (one > most_worth) {
      most_worth = one;
      best = n;
    }
  }
  return best;
}

void Controller::set_price(const FrameMs& frame_ms, uint32_t most) {
  for (int round = 0; round < kPriceRounds; ++round) {
    double n_token = 0, ms = 0;
    for (uint32_t i = 0; i < n_recent_; ++i) {
      const uint32_t n = best(recent_[i], most, frame_ms, price_);
      n_token += static_cast<double>(recent_[i].more_tokens[n]);
      ms += frame_ms[n + 1] + static_cast<double>(recent_[i].tail_ms[n]);
    }
    mean_ms_ = ms / n_recent_;
    price_ = ms > 0 ? n_token / ms : 0;
  }
}

DraftParts Controller::parts_worth(const Draft& draft, uint32_t most_parts) {
  // Twice what was tried lately is as far as the estimates carry.
  const uint32_t most = std::min(limits_.most_rows - 1, 2 * reach_ + 1);
  Cuts& cuts = recent_[next_recent_];
  next_recent_ = (next_recent_ + 1) % kRecent;
  n_recent_ = std::min(n_recent_ + 1, kRecent);
  cut(draft, 1, Costs::expected, cuts);
  const FrameMs costs = frame_ms();
  set_price(costs, most);
  const uint32_t n = best(cuts, most, costs, price_);
  cuts.parts = DraftParts::whole(n);
  cuts.parts = choose_parts(cuts, n, most,
                            std::min({most_parts, limits_.most_frames, DraftParts::kMost}), costs);
  worth_rows_ = std::max<double>(cuts.parts.n_row(), worth_rows_ * kRowsFade);
  // Frames of several sizes teach by themselves.
  if (cuts.parts.n_part == 1) {
    cuts.parts = DraftParts::whole(explore(draft, cuts, costs, cuts.parts.n_row(), most));
  }
  return cuts.parts;
}

// Sends what might be better than `n` rows for all that is known: where a kernel's steps hide
// between two sizes that were tried, or nobody knows what a row costs the link. Never for more than
// a small share of all time.
uint32_t Controller::explore(const Draft& draft, const Cuts& cuts, const FrameMs& frame_ms,
                             uint32_t n, uint32_t most) {
  if (price_ <= 0) return n;
  const double step_ms = frame_ms[n + 1] + static_cast<double>(cuts.tail_ms[n]);
  const bool blind = link_.is_known() && link_.is_blind();
  learning_ms_ += (blind ? kBlindShare : kLearnShare) * step_ms;
  if (blind && link_.is_drifting()) learning_ms_ += kLearnMost * step_ms;
  learning_ms_ = std::min(learning_ms_, kLearnMost * step_ms);
  Cuts hoped;
  cut(draft, 1, Costs::hoped, hoped);
  const FrameMs hoped_ms = this->frame_ms(Costs::hoped);
  const double known = worth(cuts, n, frame_ms, price_);
  const double least = known + kHopedFor * static_cast<double>(cuts.tokens[n]);
  // From the best that can be hoped for to the best that is expected: the first that is affordable.
  for (uint32_t at = best(hoped, most, hoped_ms, price_); at != n; at = at < n ? at + 1 : at - 1) {
    if (worth(hoped, at, hoped_ms, price_) < least) continue;
    const double lost_ms = (known - worth(cuts, at, frame_ms, price_)) / price_;
    if (lost_ms > learning_ms_) continue;
    learning_ms_ -= std::max(0.0, lost_ms);
    return at;
  }
  return n;
}

bool Controller::may_be_worth_below(const InFlight& flight) const {
  return flight.n_frame < limits_.most_frames && link_.is_known() && price_ > 0 &&
         flight.probability * link_.rtt_ms() > kLeastSaved * (head_.at(1) + link_.at(1));
}

uint32_t Controller::rows_worth_below(const InFlight& flight, const Draft& draft) const {
  if (!may_be_worth_below(flight)) return 0;
  const uint32_t most = std::min(limits_.most_rows, 2 * reach_ + 1);
  const double p = flight.probability;
  // Rows cost as much where they die, and bring something only where the leaf is right.
  Cuts cuts;
  cut(draft, 0, Costs::expected, cuts);
  if (cuts.n_row == 0) return 0;
  const FrameMs frame_ms = this->frame_ms();
  const uint32_t n = best(cuts, most, frame_ms, price_ / p);
  const auto n_token = static_cast<double>(cuts.tokens[n]);
  if (n_token <= 0) return 0;
  // If the leaf is right, its tokens come without a round trip of their own. If not, the frame is
  // in the way of the next one as far as frames in flight outlast the round trip, on the link or
  // in the body; and its head is for nothing.
  const auto occupied = [&](uint32_t rows) {
    return std::max(body_.at(rows), link_.row_ms() * rows * std::max(up_share_, 1 - up_share_));
  };
  const uint32_t mean = flight.n_frame == 0 ? 0 : flight.n_row / flight.n_frame;
  const double behind_ms = (flight.n_frame - 1) * occupied(std::max(1u, mean)) + occupied(n);
  const double in_the_way_ms = std::max(0.0, behind_ms - link_.rtt_ms());
  const double saved_ms = p * std::min(1.0, n_token) * (link_.rtt_ms() - in_the_way_ms);
  const double lost_ms = (1 - p) * in_the_way_ms + std::max(0.0, head_.at(n) - link_.rtt_ms());
  // What is nearly always wrong is not worth the traffic, nor other people's time.
  const double least_ms = kLeastSaved * (frame_ms[n] + static_cast<double>(cuts.tail_ms[n]));
  return saved_ms > lost_ms + least_ms ? n : 0;
}

uint32_t Controller::wave_rows(std::span<const float> path) const {
  TailWaves waves(tail_), hoped(tail_, true);
  for (const float reach : path) {
    waves.add(static_cast<double>(reach));
    hoped.add(static_cast<double>(reach));
  }
  const uint32_t best = waves.best();
  if (n_wave_ % kTryWave != 0) return best;
  const double most_ms = waves.ms(best) + kWaveShare * mean_ms_;
  for (uint32_t n = hoped.best(); n != best; n = n < best ? n + 1 : n - 1) {
    if (hoped.ms(n) < waves.ms(best) && waves.ms(n) <= most_ms) return n;
  }
  return best;
}

void Controller::observe(const FrameCost& cost) {
  const uint32_t n = std::max(1u, cost.n_row);
  reach_ = n >= reach_ ? n : std::max(n, reach_ - (reach_ - n) / 16);
  head_.observe(n, cost.head_ms);
  const uint64_t bytes = cost.bytes_up + cost.bytes_down;
  if (bytes == 0) {
    if (cost.alone) body_.observe(n, cost.wait_ms);
    return;
  }
  if (cost.body_ms > 0) body_.observe(n, cost.body_ms);
  if (cost.alone) link_.observe(n, std::max(0.0, cost.wait_ms - cost.body_ms));
  up_share_ += (static_cast<double>(cost.bytes_up) / static_cast<double>(bytes) - up_share_) / 8;
}

void Controller::observe_tail(uint32_t n_row, double ms) {
  if (n_row > 0) tail_.observe(n_row, ms);
  ++n_wave_;
}

}  // namespace splitd

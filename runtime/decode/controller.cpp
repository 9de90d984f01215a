// A draft's row is worth sending when the tokens that it is expected to bring are more than those
// that its time would bring otherwise. The price of time is the pace at which tokens come: over
// many steps, what maximises (tokens − price × time) of each maximises tokens over time
// (Dinkelbach).
#include "runtime/decode/controller.h"

#include <algorithm>
#include <cmath>

namespace splitd {
namespace {

constexpr double kMeanSteps = 12;       // what the means are over, about
constexpr double kExploreShare = 0.01;  // of the time may go into learning what larger frames cost
constexpr uint32_t kExploreEvery = 8;   // steps
constexpr double kExploreMost = 0.3;    // of a step, of time saved up for learning
constexpr double kLeastSaved = 0.08;    // of a step, by a frame below the leaf
constexpr double kGuessShare = 0.02;    // of a step
constexpr double kGuessMost = 0.5;      // ms
constexpr double kFarMs = 5;            // a round trip with time for other work
constexpr double kWantedTokens =
    0.02;  // that a wanted row brings: about what published windows of rows do
constexpr uint32_t kMostPath = CostCurve::kMostRows;

}  // namespace

Controller::Controller(const ControllerLimits& limits) : limits_(limits) {
  limits_.most_rows = std::max(1u, limits_.most_rows);
}

uint32_t Controller::budget() const {
  const double rows = std::max(8.0, 2 * worth_rows_ + 2);
  return std::min(limits_.most_rows - 1, static_cast<uint32_t>(rows));
}

double Controller::cost(uint32_t n_row, uint32_t n_tail_row) const {
  return head_.at(n_row) + link_.at(n_row) + body_.at(n_row) + tail_.at(n_tail_row);
}

FrameEstimate Controller::estimate(uint32_t n_row, uint32_t n_tail_row) const {
  return {.head_ms = head_.at(n_row),
          .rtt_ms = link_.rtt_ms(),
          .link_ms = link_.row_ms() * n_row,
          .body_ms = body_.at(n_row),
          .tail_ms = tail_.at(n_tail_row)};
}

// Tokens per ms of steps like the last ones, at what they would cost now; 0: nothing is known.
double Controller::pace() const {
  if (n_step_ == 0) return 0;
  const auto n_row = static_cast<uint32_t>(std::lround(mean_rows_));
  const auto n_tail = static_cast<uint32_t>(std::lround(mean_tail_));
  const double ms = cost(std::max(1u, n_row), std::max(1u, n_tail));
  return ms > 0 ? mean_tokens_ / ms : 0;
}

// What the tail's batches after the first are expected to take.
double Controller::later_waves(std::span<const float> path, uint32_t n_first) const {
  double ms = 0;
  for (size_t i = n_first; i < path.size(); i += n_first) {
    const size_t n = std::min<size_t>(n_first, path.size() - i);
    ms += static_cast<double>(path[i]) * tail_.at(static_cast<uint32_t>(n));
  }
  return ms;
}

double Controller::guess_ms() const {
  if (n_step_ == 0) return 0;
  return std::min(kGuessMost,
                  kGuessShare * cost(static_cast<uint32_t>(std::lround(mean_rows_)), 1));
}

double Controller::spare_ms() const {
  return link_.is_known() && link_.rtt_ms() >= kFarMs ? link_.rtt_ms() / 2 : 0;
}

// The best cut of at most `most` rows. Without a pace: the cut with the most tokens per ms.
// `n_last`: 1 where the last token's row goes along, and brings a token for certain.
Controller::Choice Controller::choose(const Draft& draft, double tokens_per_ms, uint32_t most,
                                      uint32_t n_last) const {
  Choice best;
  double n_token = n_last, later = 0;
  float path[kMostPath] = {1};
  uint32_t n_path = 1;
  int32_t leaf = -1;  // of the likeliest path
  const auto n_row = static_cast<uint32_t>(std::min<size_t>(draft.probabilities.size(), most));
  for (uint32_t n = 0; n <= n_row; ++n) {
    if (n > 0) {
      const float p = std::clamp(draft.probabilities[n - 1], 0.0f, 1.0f);
      n_token += static_cast<double>(p);
      // What is learnt at a wanted row brings tokens later.
      if (draft.wanted[n - 1] != 0) later += kWantedTokens;
      if (draft.parents[n - 1] == leaf && n_path < kMostPath) {
        path[n_path++] = p;
        leaf = static_cast<int32_t>(n - 1);
      }
    }
    if (n + n_last == 0) continue;
    const uint32_t n_tail = wave_rows(std::span(path).first(n_path));
    const double ms = cost(n + n_last, n_tail) + later_waves(std::span(path).first(n_path), n_tail);
    const double worth = tokens_per_ms > 0 ? n_token + later - tokens_per_ms * ms
                                           : (n_token + later) / std::max(ms, 1e-3);
    if (n == 0 || worth > best.worth || best.n_tail == 0) best = {n, worth, n_token, n_tail};
  }
  return best;
}

uint32_t Controller::rows_worth(const Draft& draft) {
  const auto n_draft = static_cast<uint32_t>(draft.probabilities.size());
  // Twice what was tried lately is as far as the estimates carry.
  const uint32_t most = std::min({n_draft, limits_.most_rows - 1, 2 * reach_ + 1});
  Choice best = choose(draft, pace(), most, 1);
  if (n_step_ == 0 || pace() == 0) {
    best = choose(draft, best.n_token / std::max(1e-3, cost(best.n + 1, best.n_tail)), most, 1);
  }
  n_step_ = std::min(n_step_ + 1, kMeanSteps);
  mean_tokens_ += (best.n_token - mean_tokens_) / n_step_;
  mean_rows_ += (best.n + 1 - mean_rows_) / n_step_;
  mean_tail_ += (best.n_tail - mean_tail_) / n_step_;
  worth_rows_ = std::max<double>(best.n, worth_rows_ * (1 - 1 / kMeanSteps));
  return best.n < most ? explore(draft, best, pace()) : best.n;
}

// Sends more than seems best where that might be wrong for want of trying: rarely, and never for
// more than a small share of all time.
uint32_t Controller::explore(const Draft& draft, const Choice& best, double tokens_per_ms) {
  const double step_ms = cost(best.n + 1, best.n_tail);
  learning_ms_ = std::min(learning_ms_ + kExploreShare * step_ms, kExploreMost * step_ms);
  const uint32_t far = std::min(
      {2 * best.n + 2, limits_.most_rows - 1, static_cast<uint32_t>(draft.probabilities.size())});
  if (++n_since_far_ < kExploreEvery && !link_.is_blind()) return best.n;
  if (far <= best.n || tokens_per_ms <= 0) return best.n;
  double n_token = best.n_token;
  for (uint32_t i = best.n; i < far; ++i) n_token += static_cast<double>(draft.probabilities[i]);
  const double lost_ms =
      cost(far + 1, best.n_tail) - step_ms - (n_token - best.n_token) / tokens_per_ms;
  if (lost_ms > learning_ms_) return best.n;
  learning_ms_ -= std::max(0.0, lost_ms);
  return far;
}

uint32_t Controller::rows_worth_below(const InFlight& flight, const Draft& draft) const {
  if (flight.n_frame >= limits_.most_frames || !link_.is_known() || pace() == 0) return 0;
  const uint32_t most = std::min(limits_.most_rows, 2 * reach_ + 1);
  const double p = flight.probability;
  if (p <= 0) return 0;
  // Rows cost as much where they die, and bring something only where the leaf is right.
  const Choice best = choose(draft, pace() / p, most, 0);
  if (best.n == 0 || best.n_token <= 0) return 0;
  // If the leaf is right, its tokens come without a round trip of their own. If not, the frame is
  // in the way of the next one as far as frames in flight outlast the round trip, on the link or
  // in the body; and its head is for nothing.
  const auto occupied = [&](uint32_t n) {
    return std::max(body_.at(n), link_.row_ms() * n * std::max(up_share_, 1 - up_share_));
  };
  const uint32_t mean = flight.n_frame == 0 ? 0 : flight.n_row / flight.n_frame;
  const double behind_ms = (flight.n_frame - 1) * occupied(std::max(1u, mean)) + occupied(best.n);
  const double in_the_way_ms = std::max(0.0, behind_ms - link_.rtt_ms());
  const double saved_ms = p * std::min(1.0, best.n_token) * (link_.rtt_ms() - in_the_way_ms);
  const double lost_ms = (1 - p) * in_the_way_ms + std::max(0.0, head_.at(best.n) - link_.rtt_ms());
  // What is nearly always wrong is not worth the traffic, nor other people's time.
  const double least_ms = kLeastSaved * cost(best.n, best.n_tail);
  return saved_ms > lost_ms + least_ms ? best.n : 0;
}

// A row that stays out costs a batch of its own when the walk comes there after all.
uint32_t Controller::wave_rows(std::span<const float> path) const {
  if (path.empty() || !tail_.is_known()) return static_cast<uint32_t>(path.size());
  const double again_ms = tail_.at(1);
  uint32_t n = 1;
  while (n < path.size()) {
    const double row_ms = tail_.at(n + 1) - tail_.at(n);
    if (static_cast<double>(path[n]) * again_ms < row_ms) break;
    ++n;
  }
  // Between two sizes that were tried a kernel's step may hide: now and then one goes to see.
  if (n_wave_ % kExploreEvery == 0 && n < path.size()) {
    const uint32_t seen = tail_.next_seen(n);
    if (seen > n + 1) n = std::min((n + seen) / 2, static_cast<uint32_t>(path.size()));
  }
  return n;
}

void Controller::observe(const FrameCost& cost) {
  const uint32_t n = std::max(1u, cost.n_row);
  reach_ = n >= reach_ ? n : std::max(n, reach_ - (reach_ - n) / 16);
  if (n > mean_rows_ * 1.5) n_since_far_ = 0;
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

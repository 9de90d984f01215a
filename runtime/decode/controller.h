// Owns: how many rows a step should carry, in how many frames, how many of them the tail should see
// at once and when a further frame should follow those in flight: the most tokens a second, by what
// frames have cost and what drafts are worth. Measures nothing itself: it is told, so it runs on
// any clock, and what it decides depends on what it was told alone. It never changes the wire's
// type (DESIGN §7). One thread; allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "runtime/decode/cost_curve.h"
#include "runtime/decode/drafter.h"
#include "runtime/decode/link_line.h"

namespace splitd {

// What one frame of rows cost. Times in ms.
struct FrameCost {
  uint32_t n_row = 0;
  double head_ms = 0;     // drafting, embedding, head layers: before it was submitted
  double wait_ms = 0;     // from submitting the frame to its reply
  double body_ms = 0;     // computing there, as it says; 0 where nobody says
  bool alone = true;      // nothing else was in flight from submit to reply
  uint64_t bytes_up = 0;  // of the frame; 0 both ways: the body is here
  uint64_t bytes_down = 0;
};

struct ControllerLimits {
  uint32_t most_rows = 1;    // of a frame, the last token's included
  uint32_t most_frames = 1;  // in flight
};

// The frames in flight, seen from below their likeliest leaf.
struct InFlight {
  uint32_t n_frame = 0;
  uint32_t n_row = 0;      // of all of them
  double probability = 0;  // that the walk will reach the leaf
};

// How a draft is sent: its first end[0] rows with the last token, up to end[1] in a frame right
// behind, and so on. The frames are answered one after another, so a walk that ends in the likelier
// rows, as most do, has not waited for the others.
struct DraftParts {
  static constexpr uint32_t kMost = 3;
  uint32_t n_part = 1;
  std::array<uint32_t, kMost> end{};

  static DraftParts whole(uint32_t n_row) { return {1, {n_row}}; }
  static DraftParts even(uint32_t n_row, uint32_t n_part);
  uint32_t n_row() const { return end[n_part - 1]; }
};

// What a frame of so many rows is expected to cost.
struct FrameEstimate {
  double head_ms = 0;
  double rtt_ms = 0;
  double link_ms = 0;  // of its rows, both ways
  double body_ms = 0;
  double tail_ms = 0;

  double total_ms() const { return head_ms + rtt_ms + link_ms + body_ms + tail_ms; }
};

class Controller {
 public:
  explicit Controller(const ControllerLimits& limits);

  // The most rows worth drafting now (without the last token's).
  uint32_t budget() const;
  // How many of the draft's rows to send beside the last token's, from the front, and in which of
  // at most so many frames.
  DraftParts parts_worth(const Draft& draft, uint32_t most_parts);
  // Whether any draft below the leaf of those in flight could be worth sending now.
  bool may_be_worth_below(const InFlight& flight) const;
  // How many rows of this one are, in a frame; 0: none. Its probabilities are those given that the
  // leaf is right.
  uint32_t rows_worth_below(const InFlight& flight, const Draft& draft) const;
  // How many rows of the likeliest path the tail should see in one batch (at least 1): path[0] is
  // the row where the walk stands (1), the others' probabilities are given that.
  uint32_t wave_rows(std::span<const float> path) const;

  void observe(const FrameCost& cost);           // each frame that came back, in order
  void observe_tail(uint32_t n_row, double ms);  // each batch of tail, norm and projection

  // How long guessing may take where a step waits for it, and work that can wait while a frame is
  // on its way: well before its reply; 0: nothing is known, or nobody is far away.
  double guess_ms() const;
  double spare_ms() const;
  double tail_ms(uint32_t n_row) const { return tail_.at(n_row); }

  FrameEstimate estimate(uint32_t n_row, uint32_t n_tail_row) const;

 private:
  static constexpr uint32_t kMostRows = CostCurve::kMostRows;
  static constexpr uint32_t kRecent = 16;
  enum class Costs { expected, hoped };

  // What cuts of a draft are expected to bring and to take in the tail, by rows of it; and how it
  // was sent.
  struct Cuts {
    DraftParts parts;
    std::array<float, kMostRows> probability{};
    std::array<int32_t, kMostRows> parent;
    uint32_t n_row = 0;
    uint32_t n_last = 1;                           // 1: the last token's row goes along
    std::array<float, kMostRows + 1> tokens;       // at once
    std::array<float, kMostRows + 1> more_tokens;  // and what is learnt brings later
    std::array<float, kMostRows + 1> tail_ms;
  };
  using FrameMs = std::array<double, kMostRows + 1>;  // by rows, without the tail

  void cut(const Draft& draft, uint32_t n_last, Costs costs, Cuts& cuts) const;
  FrameMs frame_ms(Costs costs = Costs::expected) const;
  static double worth(const Cuts& cuts, uint32_t n, const FrameMs& frame_ms, double price);
  static uint32_t best(const Cuts& cuts, uint32_t most, const FrameMs& frame_ms, double price);
  void set_price(const FrameMs& frame_ms, uint32_t most);
  double rest_ms(uint32_t n_row, double reach) const;
  double parts_ms(const Cuts& cuts, const DraftParts& parts, const FrameMs& frame_ms) const;
  double best_parts(const Cuts& cuts, uint32_t n_row, uint32_t most, uint32_t most_parts,
                    const FrameMs& frame_ms, double price, DraftParts& best) const;
  double parts_price(const FrameMs& frame_ms) const;
  DraftParts choose_parts(const Cuts& cuts, uint32_t n, uint32_t most, uint32_t most_parts,
                          const FrameMs& frame_ms) const;
  uint32_t explore(const Draft& draft, const Cuts& cuts, const FrameMs& frame_ms, uint32_t n,
                   uint32_t most);

  ControllerLimits limits_;
  CostCurve head_{0.05};
  CostCurve body_{0.05};
  CostCurve tail_{0.1};
  LinkLine link_;
  double up_share_ = 0.5;  // of a frame's bytes
  uint32_t reach_ = 1;     // the largest frame lately: what is beyond twice that is unknown
  double worth_rows_ = 0;  // about as many as the largest lately, of drafts' rows
  std::array<Cuts, kRecent> recent_;  // the last drafts, a ring
  uint32_t n_recent_ = 0, next_recent_ = 0;
  double price_ = 0;        // of time, in tokens a ms; 0: nothing is known
  double mean_ms_ = 0;      // of a step, as expected
  double learning_ms_ = 0;  // that may be spent on it
  uint32_t n_wave_ = 0;     // batches of the tail
};

}  // namespace splitd

// Owns: what may follow a row, by rows like it: the model's own likeliest followers of every row
// that was computed here, and how much each of those rows resembles this one, by the hidden state
// of the row before it and by its token. Resemblance is weighed as kernel ridge regression does
// (a Gaussian process with kernel (1 + h·h')(1 + e·e') over sketches of both): no training, no
// table that is shipped; a prompt's rows are enough to begin with. The same weights predict the
// row's own hidden state, so guesses go on below guesses.
// Time: a guess reads all that is kept once; where it would take longer than it may, it says
// nothing. Rows are taken in by digest(), while somebody waits anyway. Memory: kBytes, reserved by
// the first use(). One thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/drafters/guess.h"
#include "runtime/decode/row_sketch.h"

namespace splitd {

class KinModel {
 public:
  static constexpr uint32_t kTop = 16;   // followers kept of a row
  static constexpr size_t kRows = 512;   // rows kept; full, the newest half stays
  static constexpr size_t kQueue = 256;  // rows that wait to be taken in; the oldest are dropped
  static constexpr size_t kGuesses = 8;  // of one place
  static constexpr size_t kSlots = 10;   // places asked in one draft, and the root
  static constexpr size_t kBytes =
      4 * (kRows * (3 * kSketch + kRows + 2 * kTop) + kQueue * (2 * kSketch + 2 * kTop) +
           kSlots * (kSketch + kRows + 3 * kGuesses));

  using Place = int32_t;  // a node of the draft at hand; −1: nothing is known of it

  // `tokens` must live as long as anything else is called.
  void use(TokenSketches& tokens);
  bool is_used() const { return tokens_ != nullptr; }

  // A row to take in: its token, sketches of the row before it and of itself, its followers.
  void put(uint32_t token, std::span<const float> before, std::span<const float> own,
           std::span<const uint32_t> top, std::span<const float> probability);
  // Takes in one row that waits; false: none does.
  bool digest();

  // A draft begins below `token`, the row before which has this sketch (empty: unknown), and may
  // take until `deadline`.
  void begin_draft(std::span<const float> before, uint32_t token,
                   std::chrono::steady_clock::time_point deadline);
  Place root() const { return root_; }
  Place enter(Place place, uint32_t token);
  // Appends at most kGuesses guesses, all different; false: it knows nothing of this place.
  bool guesses(Place place, std::vector<Guess>& out);
  // The text goes on with `token` behind root(), as the model said; or otherwise.
  void append(uint32_t token);
  void leave() { root_ = -1; }

 private:
  struct Node {
    uint32_t token;
    Place parent;
    int32_t before;  // the slot with the sketch of the row before; −1: unknown
    int32_t own;     // the slot of what was found here; −1: not asked
  };
  struct Scored {
    uint32_t token;
    float score;  // log probability above the least that was kept
    float probability;
  };
  struct Slot {
    std::array<float, kSketch> sketch;     // of the row itself, as far as it is known
    std::array<float, kRows> resemblance;  // 1 + h·h' with every row's row before, once has_these
    bool has_these = false;
    std::array<Scored, kGuesses> found;
    size_t n_found = 0;
  };
  struct Waiting {
    uint32_t token;
    std::array<float, kSketch> before, own;
    std::array<uint32_t, kTop> top;
    std::array<float, kTop> score;
  };

  void take_in(const Waiting& row);
  void forget_half();
  void compare(std::span<const float> sketch, const std::vector<float>& with, float* out) const;
  float solve(const float* kernel, float* weight) const;
  bool ask(Place place);
  void collect(Slot& slot);

  TokenSketches* tokens_ = nullptr;
  size_t n_ = 0;
  std::vector<float> before_, token_, own_;  // (kRows, kSketch)
  std::vector<float> inverse_;               // (kRows, kRows) of the kernel with its noise
  std::vector<uint32_t> top_;                // (kRows, kTop)
  std::vector<float> score_;
  std::vector<uint32_t> ids_;  // the rows' tokens

  std::vector<Waiting> queue_;  // a ring
  size_t oldest_ = 0, n_waiting_ = 0;

  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
  size_t n_slot_ = 0;
  Place root_ = -1;
  std::chrono::steady_clock::time_point deadline_;

  std::vector<float> kernel_, weight_;  // scratch, by row
  std::vector<uint32_t> order_;
  std::vector<Scored> merged_;  // open addressing by token
  std::vector<uint32_t> used_;  // its slots in use
  float sharpness_ = 1;         // how far scores are to be believed
  Calibration calibration_;
};

}  // namespace splitd

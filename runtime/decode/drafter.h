// Owns: the seam between the verify loop and whoever guesses what comes next. A guess costs time
// and never changes the text (DESIGN §7).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace splitd {

// A tree of guessed tokens under the last token. Parents stand before their children, siblings with
// the likelier first.
struct Draft {
  std::vector<uint32_t> tokens;
  std::vector<int32_t> parents;      // an earlier index, or −1: right under the last token
  std::vector<float> probabilities;  // that the whole path down to here is right

  void clear() {
    tokens.clear();
    parents.clear();
    probabilities.clear();
  }
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // Guesses at most `budget` tokens after `text`, which ends with the last token. `draft` is empty.
  virtual void propose(std::span<const uint32_t> text, uint32_t budget, Draft& draft) = 0;

  // What became of a draft: so many of its tokens were right, in a row from the top.
  virtual void observe(const Draft& draft, uint32_t n_accepted) = 0;
};

// No guesses: one token a step.
class SequentialDrafter final : public Drafter {
 public:
  void propose(std::span<const uint32_t>, uint32_t, Draft&) override {}
  void observe(const Draft&, uint32_t) override {}
};

}  // namespace splitd

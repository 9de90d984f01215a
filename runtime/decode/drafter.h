// Owns: the seam between the verify loop and whoever guesses what comes next. A guess costs time
// and never changes the text (DESIGN §7). A drafter is driven by one thread, one text at a time,
// and allocates nothing per step once warm.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

struct SamplingOptions;
class TokenSketches;

// A tree of guessed tokens under the last token of a text. Parents stand before their children and
// the likelier before the less likely (of the whole path down to a row), so that a draft cut
// anywhere keeps its best rows. Siblings have different tokens.
struct Draft {
  std::vector<uint32_t> tokens;
  std::vector<int32_t> parents;      // an earlier index, or −1: right under the last token
  std::vector<float> probabilities;  // that the whole path down to here is right, as estimated
  // Rows whose followers the drafter wants to see even where the walk does not come (lookahead's
  // window): 1. They have a price and no probability; a cut may take them.
  std::vector<uint8_t> wanted;

  size_t size() const { return tokens.size(); }
  void clear();
  void reserve(size_t n);
  // Returns the index of the new row.
  int32_t add(uint32_t token, int32_t parent, float probability, bool is_wanted = false);
  void cut(size_t n);  // keeps the first n rows
};

struct DraftRequest {
  std::span<const uint32_t> text;  // ends with the last token
  size_t n_certain = 0;   // the first so many are text; those behind them are a guess in flight
  uint32_t budget = 0;    // the most rows
  uint64_t position = 0;  // = text.size(): the position of the token that is guessed first
  // Set by another thread when the draft is not wanted any more: for drafters that take long.
  const std::atomic<bool>* cancelled = nullptr;
  // A sketch of the row that brought the last certain token; empty: unknown.
  std::span<const float> before = {};
  double most_ms = 1;  // guessing may take about so long
};

// A row whose logits the step computed.
struct SeenRow {
  int32_t row = -1;   // index in the draft, or −1: the last token's
  uint32_t next = 0;  // what the sampler takes there, with the random number of that position
  std::span<const uint32_t> top;  // the likeliest followers, best first: Drafter::n_top() of them
  std::span<const float> top_probability;  // theirs, before any filter (softmax of the logits)
  // Sketches (row_sketch.h) of the row's hidden state and of that of the row before it, where the
  // drafter uses them; empty: unknown.
  std::span<const float> sketch = {};
  std::span<const float> before = {};
};

// What became of a draft.
struct StepSeen {
  std::span<const uint32_t> text;  // as propose() saw it, the last token included
  const Draft* draft = nullptr;    // as sent: perhaps cut
  std::span<const uint32_t>
      accepted;                   // the tokens that followed: right guesses, then the model's own
  std::span<const SeenRow> rows;  // on the path and beside it, ascending
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  virtual std::string_view name() const = 0;
  virtual uint32_t n_top() const { return 0; }

  // How the next texts will be drawn: whoever draws guesses does it alike.
  virtual void sample_like(const SamplingOptions& sampling) { (void)sampling; }
  // What tokens look like, before a text begins; true: the drafter wants sketches of rows. Nothing
  // of it is used behind the text's end.
  virtual bool use(TokenSketches& tokens) {
    (void)tokens;
    return false;
  }
  // A text begins: this is its prompt. What was learnt of others may be kept.
  virtual void begin(std::span<const uint32_t> prompt) = 0;
  // Guesses what follows request.text; `draft` is empty. Several drafts may be in flight, each
  // under the likeliest leaf of the one before; those under a leaf that was wrong are never
  // observed.
  virtual Status propose(const DraftRequest& request, Draft& draft) = 0;
  virtual void observe(const StepSeen& seen) = 0;
  // What the model thinks of a row of the prompt (row.row = −1: the last of `text`, which is a part
  // of it), which nobody needed for the text.
  virtual void study(std::span<const uint32_t> text, const SeenRow& row) {
    (void)text;
    (void)row;
  }
  // Somebody waits anyway: does a little of what was put off (well below a ms). False: nothing is
  // left to do.
  virtual bool work() { return false; }
};

}  // namespace splitd

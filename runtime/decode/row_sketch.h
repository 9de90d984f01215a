// Owns: short summaries of hidden states and of tokens, for drafters that compare rows: every
// coordinate is added with a sign to one of kSketch numbers (feature hashing), and the result has
// length 1, so that dot products are about those of the rows and cost the same for every model.
// One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace splitd {

class Backend;

inline constexpr size_t kSketch = 256;

// `sketch` has kSketch numbers. A row of zeros, or one that is not finite, is all zeros.
void sketch_row(std::span<const float> row, std::span<float> sketch);

// Sketches of tokens' embeddings, computed when asked for; the latest of each slot is kept.
// 4 MB + one row, from the first call on.
class TokenSketches {
 public:
  explicit TokenSketches(Backend& embedding) : embedding_(embedding) {}

  // Valid until the next call. Requires token < n_vocab.
  std::span<const float> of(uint32_t token);

 private:
  static constexpr size_t kSlots = 4096;

  Backend& embedding_;
  std::vector<uint32_t> tokens_;  // of each slot, plus 1; 0: empty
  std::vector<float> sketches_;
  std::vector<float> row_;
};

}  // namespace splitd

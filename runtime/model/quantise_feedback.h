// Owns: quantising rows so that products with them stay right, not only their numbers: the error of
// a column is made good in the columns after it, as far as inputs move together (LDLQ, another form
// of GPTQ), and each group is then chosen anew, given all the others. What moves together is said
// by the second moments of the inputs of a matrix, taken from a text. The same moments give the
// same bytes whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/model/quantise.h"

namespace splitd {

// Inputs that are so far apart are taken as independent: memory and time grow with its square.
inline constexpr uint64_t kMaxFeedbackColumns = 2048;

// Σ x xᵀ over rows of inputs, in square blocks along the diagonal.
class InputMoments {
 public:
  explicit InputMoments(uint64_t columns);

  // Row i is at x + (rows ? rows[i] : i) · stride.
  void add(const float* x, size_t stride, const uint32_t* rows, size_t n_rows, uint32_t n_thread);
  uint64_t columns() const { return columns_; }
  uint64_t n_rows() const { return n_rows_; }

 private:
  friend class Feedback;
  struct Block {
    uint64_t begin = 0;
    uint64_t n = 0;
    std::vector<float> sums;  // (n, n), the lower triangle
  };
  void add_to(Block& block, const float* packed, size_t n_rows, uint32_t n_thread) const;

  uint64_t columns_;
  uint64_t n_rows_ = 0;
  std::vector<Block> blocks_;
  std::vector<float> packed_;  // rows at hand, by tiles of columns
};

// What of the errors of earlier columns a later one takes over.
class Feedback {
 public:
  Feedback(const InputMoments& moments, uint32_t n_thread);

  uint64_t columns() const { return columns_; }

  // Rows row … row + n_rows of the matrix at `matrix`; at most kQuantPanel. `values` (n_rows,
  // columns). losses[i] grows by row i's. Returns the first value, counted along the rows, that the
  // type cannot hold.
  std::optional<size_t> quantise_rows(DType to, std::span<const float> values, uint64_t n_rows,
                                      std::byte* matrix, uint64_t row,
                                      QuantisationLoss* losses) const;

 private:
  // (Ů + I) D (Ů + I)ᵀ of a square matrix along the diagonal of H.
  struct Factor {
    std::vector<float> shares;   // (n, stride): row k holds column k of Ů, what it takes of those
                                 // before it; what lies behind is 0
    std::vector<float> weights;  // (n): D, what an error that is left in a column costs
  };
  struct Block {
    uint64_t begin = 0;
    uint64_t n = 0;
    bool known = false;          // whether there were inputs
    std::vector<float> moments;  // (n, n): H, damped, over the mean of its diagonal
    Factor whole;                // of (n, n)
    Factor groups;               // of each (32, 32) of it: (n, 32)
  };
  struct Rows;

  static Block make_block(const InputMoments::Block& from, uint32_t n_thread);
  static void factor(std::vector<double>& reversed, uint64_t n, uint32_t n_thread, float* shares,
                     float* weights);
  static std::optional<size_t> round(const Block& block, Rows& rows);
  static void refine(const Block& block, Rows& rows);

  uint64_t columns_;
  std::vector<Block> blocks_;
};

}  // namespace splitd

// H = Σ x xᵀ, damped, is (Ů + I) D (Ů + I)ᵀ with Ů strictly upper triangular. Quantising the
// columns in order, each to the nearest level of w_k + Σ_j<k (w_j − ŵ_j) Ů_jk, leaves the cost Σ_k
// D_k e_k² where e_k is the rounding of column k alone.
#include "runtime/model/quantise_feedback.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <system_error>
#include <thread>

#include "runtime/base/float16.h"

namespace splitd {
namespace {

using Lanes [[gnu::vector_size(16)]] = float;
using Doubles [[gnu::vector_size(16)]] = double;
constexpr uint64_t kLanes = 4;
constexpr double kDamping = 0.01;  // of the mean of the diagonal

// work(i) for i in [0, n), claimed one by one.
void for_all(uint64_t n, uint32_t n_thread, const std::function<void(uint64_t)>& work) {
  std::atomic<uint64_t> next{0};
  const auto run = [&] {
    for (uint64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) work(i);
  };
  std::vector<std::thread> others;
  try {
    for (uint64_t i = 1; i < std::min<uint64_t>(n_thread, n); ++i) others.emplace_back(run);
  } catch (const std::system_error&) {
    // No room for another stack: those that run do all of it.
  }
  run();
  for (std::thread& other : others) other.join();
}

template <class Vector>
Vector load(const void* from) {
  Vector out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

// Σ a·b over n, a multiple of 4.
float dot(const float* a, const float* b, uint64_t n) {
  Lanes sums[2] = {};
  uint64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sums[0] += load<Lanes>(a + i) * load<Lanes>(b + i);
    sums[1] += load<Lanes>(a + i + kLanes) * load<Lanes>(b + i + kLanes);
  }
  if (i < n) sums[0] += load<Lanes>(a + i) * load<Lanes>(b + i);
  const Lanes sum = sums[0] + sums[1];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

double dot(const double* a, const double* b, uint64_t n) {
  Doubles sums[4] = {};
  uint64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (uint64_t v = 0; v < 4; ++v) {
      sums[v] += load<Doubles>(a + i + 2 * v) * load<Doubles>(b + i + 2 * v);
    }
  }
  const Doubles sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = sum[0] + sum[1];
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// sums(i, j) += Σ x(r, i) x(r, j) for 4 values of i from `i` on and 8 of j from `j` on.
void add_tile(const float* x, uint64_t stride, uint64_t n_rows, uint64_t i, uint64_t j, float* sums,
              uint64_t sums_stride) {
  Lanes tile[4][2] = {};
  for (uint64_t row = 0; row < n_rows; ++row, x += stride) {
    const Lanes low = load<Lanes>(x + j), high = load<Lanes>(x + j + kLanes);
    for (uint64_t k = 0; k < 4; ++k) {
      tile[k][0] += low * x[i + k];
      tile[k][1] += high * x[i + k];
    }
  }
  for (uint64_t k = 0; k < 4; ++k) {
    float* out = sums + (i + k) * sums_stride + j;
    for (uint64_t l = 0; l < 2 * kLanes; ++l) out[l] += tile[k][l / kLanes][l % kLanes];
  }
}

// In place, the lower triangle of a (n, n): the Cholesky factor.
void cholesky(std::vector<double>& a, uint64_t n, uint32_t n_thread) {
  constexpr uint64_t kPanel = 32;
  const auto element = [&](uint64_t i, uint64_t j) {
    double* row = a.data() + i * n;
    const double* other = a.data() + j * n;
    const double rest = row[j] - dot(row, other, j);
    // Damped: only rounding could take the diagonal to zero.
    row[j] = i == j ? std::sqrt(std::max(rest, 1e-30)) : rest / other[j];
  };
  for (uint64_t begin = 0; begin < n; begin += kPanel) {
    const uint64_t end = std::min(n, begin + kPanel);
    for (uint64_t i = begin; i < end; ++i) {
      for (uint64_t j = begin; j <= i; ++j) element(i, j);
    }
    constexpr uint64_t kRows = 16;
    for_all((n - end + kRows - 1) / kRows, n_thread, [&](uint64_t piece) {
      const uint64_t last = std::min(n, end + (piece + 1) * kRows);
      for (uint64_t i = end + piece * kRows; i < last; ++i) {
        for (uint64_t j = begin; j < end; ++j) element(i, j);
      }
    });
  }
}

}  // namespace

InputMoments::InputMoments(uint64_t columns) : columns_(columns) {
  for (uint64_t begin = 0; begin < columns; begin += kMaxFeedbackColumns) {
    const uint64_t n = std::min(kMaxFeedbackColumns, columns - begin);
    blocks_.push_back({begin, n, std::vector<float>(n * n)});
  }
}

void InputMoments::add(const float* x, size_t stride, const uint32_t* rows, size_t n_rows,
                       uint32_t n_thread) {
  packed_.resize(n_rows * columns_);
  for (size_t i = 0; i < n_rows; ++i) {
    std::memcpy(packed_.data() + i * columns_, x + (rows != nullptr ? rows[i] : i) * stride,
                columns_ * sizeof(float));
  }
  for (Block& block : blocks_) add_to(block, packed_.data() + block.begin, n_rows, n_thread);
  n_rows_ += n_rows;
}

void InputMoments::add_to(Block& block, const float* x, size_t n_rows, uint32_t n_thread) const {
  constexpr uint64_t kTile = 32;  // columns are multiples of kQuantGroup
  for_all(block.n / kTile, n_thread, [&](uint64_t piece) {
    const uint64_t begin = piece * kTile;
    for (uint64_t j = 0; j < begin + kTile; j += 2 * kLanes) {
      for (uint64_t i = begin; i < begin + kTile; i += 4) {
        add_tile(x, columns_, n_rows, i, j, block.sums.data(), block.n);
      }
    }
  });
}

Feedback::Feedback(const InputMoments& moments, uint32_t n_thread) : columns_(moments.columns()) {
  for (const InputMoments::Block& block : moments.blocks_) {
    blocks_.push_back(factor(block, n_thread));
  }
}

// Backwards, an upper factor is a lower one: entry (i, j) of the copy is (n-1-i, n-1-j) of H.
Feedback::Block Feedback::factor(const InputMoments::Block& from, uint32_t n_thread) {
  const uint64_t n = from.n;
  double mean = 0;
  for (uint64_t i = 0; i < n; ++i) mean += double{from.sums[i * n + i]} / static_cast<double>(n);
  // Inputs that were all zero: every column costs the same and takes nothing over.
  const double damping = mean > 0 ? kDamping * mean : 1.0;
  std::vector<double> a(n * n);
  for (uint64_t i = 0; i < n; ++i) {
    for (uint64_t j = 0; j <= i; ++j) a[i * n + j] = from.sums[(n - 1 - j) * n + (n - 1 - i)];
    a[i * n + i] += damping;
  }
  cholesky(a, n, n_thread);
  Block out{from.begin, n, std::vector<float>(n * n), std::vector<float>(n)};
  for (uint64_t k = 0; k < n; ++k) {
    const uint64_t column = n - 1 - k;
    const double pivot = a[column * n + column];
    out.weights[k] = static_cast<float>(pivot * pivot / (mean > 0 ? mean : 1.0));
    for (uint64_t j = 0; j < k; ++j) {
      out.shares[k * n + j] = static_cast<float>(a[(n - 1 - j) * n + column] / pivot);
    }
  }
  return out;
}

std::optional<size_t> Feedback::quantise_rows(DType to, std::span<const float> values,
                                              uint64_t n_rows, std::byte* matrix, uint64_t row,
                                              QuantisationLoss* losses) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
  }
  std::vector<float> errors;
  float wanted[kQuantPanel][kQuantGroup];
  int8_t levels[kQuantGroup];
  for (const Block& block : blocks_) {
    errors.assign(n_rows * block.n, 0.0f);
    for (uint64_t begin = 0; begin < block.n; begin += kQuantGroup) {
      // What the group takes over from those before it.
      for (uint64_t i = 0; i < kQuantGroup; ++i) {
        const float* shares = block.shares.data() + (begin + i) * block.n;
        for (uint64_t r = 0; r < n_rows; ++r) {
          wanted[r][i] = dot(errors.data() + r * block.n, shares, begin);
        }
      }
      for (uint64_t r = 0; r < n_rows; ++r) {
        const size_t at = r * columns_ + block.begin + begin;
        for (uint64_t i = 0; i < kQuantGroup; ++i) wanted[r][i] += values[at + i];
        const std::optional<float> scale = group_scale(to, wanted[r], block.weights.data() + begin);
        if (!scale) return at;
        float* error = errors.data() + r * block.n + begin;
        for (uint64_t i = 0; i < kQuantGroup; ++i) {
          const float* shares = block.shares.data() + (begin + i) * block.n + begin;
          float want = wanted[r][i];
          for (uint64_t j = 0; j < i; ++j) want += error[j] * shares[j];
          const float level = nearest_level(to, want, *scale);
          levels[i] = static_cast<int8_t>(level);
          error[i] = values[at + i] - level * *scale;
          losses[r].add({double{error[i]} * double{error[i]},
                         double{values[at + i]} * double{values[at + i]}});
        }
        put_group(to, matrix, columns_, row + r, (block.begin + begin) / kQuantGroup,
                  to_f16(*scale).bits, levels);
      }
    }
  }
  return std::nullopt;
}

}  // namespace splitd

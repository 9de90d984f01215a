// From inputs to H = Σ x xᵀ, damped, and to its factors (Ů + I) D (Ů + I)ᵀ.
#include "runtime/model/quantise_feedback.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <system_error>
#include <thread>

#include "runtime/model/quantise_lanes.h"

namespace splitd {
namespace {

using quantise_lanes::kLanes;
using quantise_lanes::Lanes;
using quantise_lanes::load;

using Doubles [[gnu::vector_size(16)]] = double;
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

double dot(const double* a, const double* b, uint64_t n) {
  const auto pair = [](const double* from) {
    Doubles out;
    std::memcpy(&out, from, sizeof out);
    return out;
  };
  Doubles sums[4] = {};
  uint64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (uint64_t v = 0; v < 4; ++v) sums[v] += pair(a + i + 2 * v) * pair(b + i + 2 * v);
  }
  const Doubles sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = sum[0] + sum[1];
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

constexpr uint64_t kTile = kQuantGroup;  // columns are multiples of it

// sums(i, j) += Σ a(r, i) b(r, j) for 4 values of i and 8 of j; rows are kTile apart.
void add_tile(const float* a, const float* b, uint64_t n_rows, float* sums, uint64_t sums_stride) {
  Lanes tile[4][2] = {};
  for (uint64_t row = 0; row < n_rows; ++row, a += kTile, b += kTile) {
    const Lanes low = load(b), high = load(b + kLanes);
    for (uint64_t k = 0; k < 4; ++k) {
      tile[k][0] += low * a[k];
      tile[k][1] += high * a[k];
    }
  }
  for (uint64_t k = 0; k < 4; ++k) {
    float* out = sums + k * sums_stride;
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
  constexpr size_t kRows = 128;  // two tiles of them lie in the nearest cache
  for (size_t begin = 0; begin < n_rows; begin += kRows) {
    const size_t n = std::min(kRows, n_rows - begin);
    packed_.resize(n * columns_);
    for (size_t i = 0; i < n; ++i) {
      const float* row = x + (rows != nullptr ? rows[begin + i] : begin + i) * stride;
      for (uint64_t tile = 0; tile < columns_ / kTile; ++tile) {
        std::memcpy(packed_.data() + (tile * n + i) * kTile, row + tile * kTile,
                    kTile * sizeof(float));
      }
    }
    for (Block& block : blocks_) add_to(block, packed_.data() + block.begin * n, n, n_thread);
  }
  n_rows_ += n_rows;
}

// `packed`: (block.n / kTile, n_rows, kTile).
void InputMoments::add_to(Block& block, const float* packed, size_t n_rows,
                          uint32_t n_thread) const {
  for_all(block.n / kTile, n_thread, [&](uint64_t piece) {
    const float* a = packed + piece * n_rows * kTile;
    for (uint64_t other = 0; other <= piece; ++other) {
      const float* b = packed + other * n_rows * kTile;
      float* sums = block.sums.data() + piece * kTile * block.n + other * kTile;
      for (uint64_t i = 0; i < kTile; i += 4) {
        for (uint64_t j = 0; j < kTile; j += 2 * kLanes) {
          add_tile(a + i, b + j, n_rows, sums + i * block.n + j, block.n);
        }
      }
    }
  });
}

Feedback::Feedback(const InputMoments& moments, uint32_t n_thread) : columns_(moments.columns()) {
  for (const InputMoments::Block& block : moments.blocks_) {
    blocks_.push_back(make_block(block, n_thread));
  }
}

Feedback::Block Feedback::make_block(const InputMoments::Block& from, uint32_t n_thread) {
  const uint64_t n = from.n;
  double mean = 0;
  for (uint64_t i = 0; i < n; ++i) mean += double{from.sums[i * n + i]} / static_cast<double>(n);
  Block out{
      .begin = from.begin, .n = n, .known = mean > 0, .moments = {}, .whole = {}, .groups = {}};
  // Inputs that were all zero: every column costs the same and takes nothing over.
  const double inverse = out.known ? 1.0 / mean : 0.0;
  const double damping = out.known ? kDamping : 1.0;
  const auto element = [&](uint64_t i, uint64_t j) {  // i >= j
    return double{from.sums[i * n + j]} * inverse + (i == j ? damping : 0.0);
  };
  // Backwards, an upper factor is a lower one: entry (i, j) of the copy is (n-1-i, n-1-j) of H.
  std::vector<double> reversed(n * n);
  for (uint64_t i = 0; i < n; ++i) {
    for (uint64_t j = 0; j <= i; ++j) reversed[i * n + j] = element(n - 1 - j, n - 1 - i);
  }
  out.whole = {std::vector<float>(n * n), std::vector<float>(n)};
  factor(reversed, n, n_thread, out.whole.shares.data(), out.whole.weights.data());

  constexpr uint64_t kGroup = kQuantGroup;
  out.groups = {std::vector<float>(n * kGroup), std::vector<float>(n)};
  for (uint64_t begin = 0; begin < n; begin += kGroup) {
    const uint64_t last = begin + kGroup - 1;
    reversed.assign(kGroup * kGroup, 0.0);
    for (uint64_t i = 0; i < kGroup; ++i) {
      for (uint64_t j = 0; j <= i; ++j) reversed[i * kGroup + j] = element(last - j, last - i);
    }
    factor(reversed, kGroup, 1, out.groups.shares.data() + begin * kGroup,
           out.groups.weights.data() + begin);
  }

  out.moments.resize(n * n);
  for (uint64_t i = 0; i < n; ++i) {
    for (uint64_t j = 0; j <= i; ++j) {
      out.moments[i * n + j] = out.moments[j * n + i] = static_cast<float>(element(i, j));
    }
  }
  return out;
}

void Feedback::factor(std::vector<double>& reversed, uint64_t n, uint32_t n_thread, float* shares,
                      float* weights) {
  cholesky(reversed, n, n_thread);
  for (uint64_t k = 0; k < n; ++k) {
    const uint64_t column = n - 1 - k;
    const double pivot = reversed[column * n + column];
    weights[k] = static_cast<float>(pivot * pivot);
    for (uint64_t j = 0; j < k; ++j) {
      shares[k * n + j] = static_cast<float>(reversed[(n - 1 - j) * n + column] / pivot);
    }
  }
}

}  // namespace splitd

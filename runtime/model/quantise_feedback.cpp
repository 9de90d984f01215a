// H = Σ x xᵀ, damped, is (Ů + I) D (Ů + I)ᵀ with Ů strictly upper triangular. Quantising the
// columns in order, each to the nearest level of w_k + Σ_j<k (w_j − ŵ_j) Ů_jk, leaves the cost Σ_k
// D_k e_k² where e_k is the rounding of column k alone. A group's part of that is known once its
// scale is chosen, so several are tried. What it leaves to later groups they cannot always make
// good: afterwards every group is chosen again, a few times, with all the others as they are. For
// errors e = w − ŵ its best numbers are then ŵ + H_gg⁻¹ (H e)_g, and what other numbers cost is the
// same sum with the factor of H_gg.
#include "runtime/model/quantise_feedback.h"

#include <cmath>
#include <limits>

#include "runtime/base/float16.h"
#include "runtime/model/quantise_lanes.h"

namespace splitd {
namespace {

using quantise_lanes::kLanes;
using quantise_lanes::kRound;
using quantise_lanes::Lanes;
using quantise_lanes::load;
using quantise_lanes::sum_of;

constexpr uint64_t kGroup = kQuantGroup;
constexpr int kSweeps = 3;  // more bring less than a hundredth each

// So many scales are tried at a time.
using Scales [[gnu::vector_size(32)]] = float;
constexpr size_t kTogether = 8;

// out(i) = Σ_k a(i, k) b(k) for Rows rows and two b, one behind the other; out(i) is kGroup apart.
template <int Rows>
void dots(const float* a, uint64_t stride, const float* b, uint64_t b_stride, uint64_t n,
          float* out) {
  Lanes sums[Rows][2] = {};
  for (uint64_t k = 0; k < n; k += kLanes) {
    const Lanes first = load(b + k), second = load(b + b_stride + k);
    for (int i = 0; i < Rows; ++i) {
      const Lanes row = load(a + static_cast<uint64_t>(i) * stride + k);
      sums[i][0] += row * first;
      sums[i][1] += row * second;
    }
  }
  for (int i = 0; i < Rows; ++i) {
    out[static_cast<uint64_t>(i) * kGroup] = sum_of(sums[i][0]);
    out[static_cast<uint64_t>(i) * kGroup + 1] = sum_of(sums[i][1]);
  }
}

// out(r, i) = Σ_k<n a(r, k) b(i, k) for the kGroup rows of b. A sum does not depend on n_rows.
void products(const float* a, uint64_t n_rows, const float* b, uint64_t stride, uint64_t n,
              float* out) {
  for (uint64_t i = 0; i < kGroup; i += 2) {
    uint64_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
      dots<4>(a + r * stride, stride, b + i * stride, stride, n, out + r * kGroup + i);
    }
    for (; r < n_rows; ++r) {
      dots<1>(a + r * stride, stride, b + i * stride, stride, n, out + r * kGroup + i);
    }
  }
}

// What a group costs, and what its columns take over from each other.
struct GroupCost {
  const float* shares;  // (kGroup, stride)
  uint64_t stride;
  const float* weights;
};

struct Choice {
  float cost = std::numeric_limits<float>::infinity();
  float scale = 0.0f;
  float levels[kGroup] = {};
};

// Column i goes to the nearest level of wanted(i) + Σ_j<i (values(j) − ŵ(j)) shares(i, j).
void try_scales(DType to, const GroupCost& group, const float* wanted, const float* values,
                const float* scales, Choice& best) {
  const Levels levels = levels_of(to);
  Scales scale, inverse, cost{}, errors[kGroup], chosen[kGroup];
  for (size_t c = 0; c < kTogether; ++c) {
    scale[c] = scales[c];
    inverse[c] = scales[c] == 0.0f ? 0.0f : 1.0f / scales[c];
  }
  for (uint64_t i = 0; i < kGroup; ++i) {
    const float* shares = group.shares + i * group.stride;
    Scales want = Scales{} + wanted[i];
    for (uint64_t j = 0; j < i; ++j) want += errors[j] * shares[j];
    Scales level = want * inverse;
    level = level < levels.least ? Scales{} + levels.least : level;
    level = level > levels.most ? Scales{} + levels.most : level;
    level = (level + kRound) - kRound;
    chosen[i] = level;
    const Scales rest = want - level * scale;
    cost += rest * rest * group.weights[i];
    errors[i] = values[i] - level * scale;
  }
  for (size_t c = 0; c < kTogether; ++c) {
    if (!(cost[c] < best.cost)) continue;
    best.cost = cost[c];
    best.scale = scale[c];
    for (uint64_t i = 0; i < kGroup; ++i) best.levels[i] = chosen[i][c];
  }
}

// What errors in a group's numbers cost.
float cost_of(const GroupCost& group, const float* errors) {
  float cost = 0.0f;
  for (uint64_t i = 0; i < kGroup; ++i) {
    const float* shares = group.shares + i * group.stride;
    float rest = errors[i];
    for (uint64_t j = 0; j < i; ++j) rest += errors[j] * shares[j];
    cost += rest * rest * group.weights[i];
  }
  return cost;
}

// x := H_gg⁻¹ x.
void solve(const GroupCost& group, float* x) {
  for (uint64_t k = kGroup; k-- > 0;) {
    const float* shares = group.shares + k * group.stride;
    for (uint64_t j = 0; j < k; ++j) x[j] -= shares[j] * x[k];
  }
  for (uint64_t k = 0; k < kGroup; ++k) {
    const float* shares = group.shares + k * group.stride;
    float sum = x[k] / group.weights[k];
    for (uint64_t j = 0; j < k; ++j) sum -= shares[j] * x[j];
    x[k] = sum;
  }
}

float extreme_of(const float* values) {
  float extreme = 0.0f;
  for (uint64_t i = 0; i < kGroup; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  return extreme;
}

// Scales as they are stored; one that f16 cannot hold is left out.
float as_stored(float scale, float otherwise) {
  const float stored = to_f32(to_f16(scale));
  return std::isfinite(stored) ? stored : otherwise;
}

// Tries `found`, the best scale for a group alone, and where inputs are known others as well.
void choose(DType to, const GroupCost& group, bool known, const float* wanted, const float* values,
            float found, Choice& best) {
  constexpr float kNear[kTogether] = {1.0f, 0.995f, 0.99f, 0.985f, 0.98f, 0.97f, 0.96f, 1.01f};
  constexpr float kOfExtreme[2 * kTogether - 2] = {-8.0f, -7.5f, -7.0f, -6.5f, -6.0f, -8.5f, -9.2f,
                                                   8.0f,  7.5f,  7.0f,  6.5f,  6.0f,  8.5f,  9.2f};
  float scales[2 * kTogether];
  if (to == DType::q8 || !known) {
    for (size_t c = 0; c < kTogether; ++c) {
      scales[c] = known ? as_stored(found * kNear[c], found) : found;
    }
    return try_scales(to, group, wanted, values, scales, best);
  }
  const float extreme = extreme_of(wanted);
  scales[0] = found;
  scales[1] = as_stored(found * 1.03f, found);
  for (size_t c = 2; c < 2 * kTogether; ++c) {
    scales[c] = as_stored(extreme / kOfExtreme[c - 2], found);
  }
  try_scales(to, group, wanted, values, scales, best);
  try_scales(to, group, wanted, values, scales + kTogether, best);
}

// Fewer, about the one that the group has.
void choose_again(DType to, const GroupCost& group, const float* wanted, float scale,
                  Choice& best) {
  constexpr float kOfExtreme[] = {-8.0f, -7.4f, -6.8f, 7.4f, 6.8f};
  const float extreme = extreme_of(wanted);
  float scales[kTogether] = {scale, as_stored(scale * 0.97f, scale),
                             as_stored(scale * 1.03f, scale)};
  for (size_t c = 3; c < kTogether; ++c) scales[c] = as_stored(extreme / kOfExtreme[c - 3], scale);
  try_scales(to, group, wanted, wanted, scales, best);
}

}  // namespace

// Rows of one block while they are quantised.
struct Feedback::Rows {
  DType to;
  uint64_t n_rows;
  const float* values;  // row r at values + r · stride
  uint64_t stride;
  std::vector<float> errors;  // (n_rows, n): value − what it became
  std::vector<float> levels;  // (n_rows, n)
  std::vector<float> scales;  // (n_rows, n / kGroup)

  Rows(DType type, uint64_t rows, const float* from, uint64_t from_stride, uint64_t n)
      : to(type),
        n_rows(rows),
        values(from),
        stride(from_stride),
        errors(rows * n),
        levels(rows * n),
        scales(rows * n / kGroup) {}

  void set(uint64_t r, uint64_t begin, uint64_t n, const Choice& choice) {
    scales[(r * n + begin) / kGroup] = choice.scale;
    for (uint64_t i = 0; i < kGroup; ++i) {
      levels[r * n + begin + i] = choice.levels[i];
      errors[r * n + begin + i] = values[r * stride + begin + i] - choice.levels[i] * choice.scale;
    }
  }
};

// Groups in order. Returns the first column, counted along the rows' values, of one that no scale
// reaches.
std::optional<size_t> Feedback::round(const Block& block, Rows& rows) {
  const uint64_t n = block.n;
  float wanted[kQuantPanel * kGroup];
  for (uint64_t begin = 0; begin < n; begin += kGroup) {
    // What the group takes over from those before it.
    const float* shares = block.whole.shares.data() + begin * n;
    products(rows.errors.data(), rows.n_rows, shares, n, begin, wanted);
    const GroupCost group{shares + begin, n, block.whole.weights.data() + begin};
    for (uint64_t r = 0; r < rows.n_rows; ++r) {
      float* want = wanted + r * kGroup;
      const float* values = rows.values + r * rows.stride + begin;
      for (uint64_t i = 0; i < kGroup; ++i) want[i] += values[i];
      const std::optional<float> found = group_scale(rows.to, want, group.weights);
      if (!found) return r * rows.stride + begin;
      Choice best;
      choose(rows.to, group, block.known, want, values, *found, best);
      rows.set(r, begin, n, best);
    }
  }
  return std::nullopt;
}

// Every group anew, given the others.
void Feedback::refine(const Block& block, Rows& rows) {
  const uint64_t n = block.n;
  float wanted[kQuantPanel * kGroup];
  for (uint64_t begin = 0; begin < n; begin += kGroup) {
    products(rows.errors.data(), rows.n_rows, block.moments.data() + begin * n, n, n, wanted);
    const GroupCost group{block.groups.shares.data() + begin * kGroup, kGroup,
                          block.groups.weights.data() + begin};
    for (uint64_t r = 0; r < rows.n_rows; ++r) {
      float* want = wanted + r * kGroup;
      solve(group, want);  // how far the best numbers are from those at hand
      Choice best;
      best.cost = cost_of(group, want);
      const float* errors = rows.errors.data() + r * n + begin;
      const float* values = rows.values + r * rows.stride + begin;
      for (uint64_t i = 0; i < kGroup; ++i) want[i] += values[i] - errors[i];
      const float before = best.cost;
      choose_again(rows.to, group, want, rows.scales[(r * n + begin) / kGroup], best);
      if (best.cost < before) rows.set(r, begin, n, best);
    }
  }
}

std::optional<size_t> Feedback::quantise_rows(DType to, std::span<const float> values,
                                              uint64_t n_rows, std::byte* matrix, uint64_t row,
                                              QuantisationLoss* losses) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
  }
  int8_t levels[kGroup];
  for (const Block& block : blocks_) {
    Rows rows(to, n_rows, values.data() + block.begin, columns_, block.n);
    if (const std::optional<size_t> bad = round(block, rows)) return block.begin + *bad;
    // q8 loses too little for that to matter.
    for (int i = 0; i < kSweeps && to == DType::q4 && block.known; ++i) refine(block, rows);
    for (uint64_t r = 0; r < n_rows; ++r) {
      for (uint64_t begin = 0; begin < block.n; begin += kGroup) {
        for (uint64_t i = 0; i < kGroup; ++i) {
          const uint64_t at = r * block.n + begin + i;
          levels[i] = static_cast<int8_t>(rows.levels[at]);
          const double value = values[r * columns_ + block.begin + begin + i];
          losses[r].add({double{rows.errors[at]} * double{rows.errors[at]}, value * value});
        }
        put_group(to, matrix, columns_, row + r, (block.begin + begin) / kGroup,
                  to_f16(rows.scales[(r * block.n + begin) / kGroup]).bits, levels);
      }
    }
  }
  return std::nullopt;
}

}  // namespace splitd

// Every table this machine runs, against sums made here in f64, with buffers that touch guard
// pages; and batch invariance bit for bit.
#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/select.h"
#include "runtime/base/float16.h"
#include "tests/kernels/guarded.h"

namespace splitd::kernels {
namespace {

struct Case {
  const KernelTable* table;
  bool native;
  WeightType type;

  const MatmulKernel& kernel() const {
    return (native ? table->matmul.native : table->matmul.exact).of(type);
  }
  // Whether the activations lose bits on their way in.
  bool rounds() const { return native && kernel().prepare != table->matmul.exact.of(type).prepare; }
  size_t weight_bytes() const { return type == WeightType::f32 ? 4 : 2; }
  double lanes() const {
    switch (table->isa) {
      case Isa::reference:
        return 1e9;  // f64: only the last rounding counts
      case Isa::neon:
      case Isa::neon_bf16:
        return 4;
      case Isa::avx2:
        return 8;
      default:
        return 16;
    }
  }
  std::string name() const {
    constexpr const char* kTypes[] = {"f32", "bf16", "f16"};
    return std::string(table->name) + (native ? "_native_" : "_exact_") +
           kTypes[static_cast<size_t>(type)];
  }
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const KernelTable* table : runnable_tables()) {
    for (const WeightType type : {WeightType::f32, WeightType::bf16, WeightType::f16}) {
      cases.push_back({table, false, type});
      const Case native{table, true, type};
      if (native.kernel().run != cases.back().kernel().run) cases.push_back(native);
    }
  }
  return cases;
}

class Matmul : public testing::TestWithParam<Case> {};

using Bytes = Guarded<std::byte>;

// What the kernel gets and what it must give.
struct Problem {
  size_t m, n, k;
  std::vector<float> a;  // (M, K)
  std::vector<float> w;  // (N, K), values that the weight type holds exactly
};

float fit(WeightType type, float value) {
  if (type == WeightType::bf16) return to_f32(to_bf16(value));
  if (type == WeightType::f16) return to_f32(to_f16(value));
  return value;
}

Bytes store_weights(WeightType type, const std::vector<float>& w, Edge edge) {
  Bytes stored(w.size() * (type == WeightType::f32 ? 4 : 2), edge);
  for (size_t i = 0; i < w.size(); ++i) {
    if (type == WeightType::f32) {
      std::memcpy(stored.data() + 4 * i, &w[i], 4);
    } else {
      const uint16_t bits = type == WeightType::bf16 ? to_bf16(w[i]).bits : to_f16(w[i]).bits;
      std::memcpy(stored.data() + 2 * i, &bits, 2);
    }
  }
  return stored;
}

Problem random_problem(WeightType type, size_t m, size_t n, size_t k, uint64_t seed) {
  Random random(seed);
  Problem problem{m, n, k, std::vector<float>(m * k), std::vector<float>(n * k)};
  for (float& value : problem.a) value = random.normal();
  for (float& value : problem.w) value = fit(type, 0.05f * random.normal());
  return problem;
}

struct Run {
  Edge edge = Edge::after;
  std::vector<size_t> cuts = {};  // where the columns are divided into calls
  size_t m_piece = SIZE_MAX;      // rows prepared by one call
  size_t c_gap = 0;               // c_stride - n
  const uint32_t* rows = nullptr;
};

// (M, N). Buffers are exactly as large as the kernel said, between guard pages.
std::vector<float> multiply(const Case& c, const Problem& problem, const Run& how = {}) {
  const MatmulKernel& kernel = c.kernel();
  const auto [m, n, k, a, w] = problem;
  Guarded<float> a_guarded(a.size(), how.edge);
  std::copy(a.begin(), a.end(), a_guarded.begin());
  const Bytes weights = store_weights(c.type, w, how.edge);
  Bytes prepared(kernel.prepared_bytes(m, k)), scratch(kernel.scratch_bytes(m, k));
  std::fill(prepared.begin(), prepared.end(), std::byte{0xff});  // NaN wherever it is not written
  std::fill(scratch.begin(), scratch.end(), std::byte{0xff});
  for (size_t i = 0; i < m; i += std::min(m, how.m_piece)) {
    kernel.prepare(a_guarded.data(), k, how.rows, m, k, i,
                   std::min(m, i + std::min(m, how.m_piece)), prepared.data());
  }
  const size_t c_stride = n + how.c_gap;
  Guarded<float> out((m - 1) * c_stride + n, how.edge);
  std::fill(out.begin(), out.end(), 12345.f);
  std::vector<size_t> cuts = how.cuts;
  cuts.push_back(n);
  for (size_t begin = 0; const size_t end : cuts) {
    kernel.run({.prepared = prepared.data(),
                .w = weights.data(),
                .c = out.data(),
                .scratch = scratch.data(),
                .c_stride = c_stride,
                .m = m,
                .k = k,
                .n_begin = begin,
                .n_end = end});
    begin = end;
  }
  std::vector<float> result(m * n);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) result[i * n + j] = out[i * c_stride + j];
    for (size_t j = n; i + 1 < m && j < c_stride; ++j) {
      EXPECT_EQ(out[i * c_stride + j], 12345.f) << "wrote beside the row";
    }
  }
  return result;
}

// The bound this room states (kernels/README.md): rounding errors of one fma per step and lane plus
// the tree, relative to Σ|a·w|; and what a kernel that flushes denormals may lose.
void expect_accurate(const Case& c, const Problem& problem, const std::vector<float>& got) {
  const auto& [m, n, k, a, w] = problem;
  const double steps = static_cast<double>(k) / c.lanes() + 8;
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0, weights = 0, activations = 0;
      for (size_t s = 0; s < k; ++s) {
        const float value = a[i * k + s];
        const double x = c.rounds() ? to_f32(to_bf16(value)) : value;
        sum += x * w[j * k + s];
        magnitude += std::abs(x * w[j * k + s]);
        weights += std::abs(w[j * k + s]);
        activations += std::abs(x);
      }
      double bound = steps * 0x1p-24 * magnitude + static_cast<double>(k) * 0x1p-149;
      if (c.rounds()) {
        bound = 2 * bound + 0x1p-126 * (weights + activations + static_cast<double>(k));
      }
      ASSERT_LE(std::abs(got[i * n + j] - sum), bound)
          << c.name() << " M=" << m << " N=" << n << " K=" << k << " at " << i << ", " << j << ": "
          << got[i * n + j] << " for " << sum;
    }
  }
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

TEST_P(Matmul, OddSizesBetweenGuardPages) {
  uint64_t seed = 1;
  for (const size_t k :
       {1u, 2u, 3u, 7u, 8u, 15u, 16u, 17u, 31u, 32u, 33u, 63u, 64u, 65u, 100u, 130u}) {
    for (const size_t m : {1u, 2u, 3u, 5u, 6u, 7u, 8u, 33u, 37u}) {
      for (const size_t n : {1u, 2u, 3u, 4u, 5u, 8u, 9u, 33u}) {
        const Problem problem = random_problem(GetParam().type, m, n, k, ++seed);
        const Edge edge = seed % 2 == 0 ? Edge::after : Edge::before;
        expect_accurate(GetParam(), problem,
                        multiply(GetParam(), problem, {.edge = edge, .c_gap = seed % 3}));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Matmul, ShapesThatNeedEveryKindOfBlock) {
  for (const auto& [m, n, k] : std::vector<std::tuple<size_t, size_t, size_t>>{{1, 40, 576},
                                                                               {1, 17, 9000},
                                                                               {2, 17, 9000},
                                                                               {4, 70, 2050},
                                                                               {16, 70, 2050},
                                                                               {32, 33, 1090},
                                                                               {33, 70, 2050},
                                                                               {64, 33, 5000},
                                                                               {200, 35, 2100}}) {
    const Problem problem = random_problem(GetParam().type, m, n, k, m + n + k);
    expect_accurate(GetParam(), problem, multiply(GetParam(), problem));
    if (HasFatalFailure()) return;
  }
}

TEST_P(Matmul, AdversarialValues) {
  const WeightType type = GetParam().type;
  for (const size_t m : {1u, 4u, 40u}) {
    for (const size_t k : {96u, 1000u}) {
      const size_t n = 11;
      Random random(m + k);
      const Problem plain = random_problem(type, m, n, k, m * k);

      Problem cancelling = plain;  // neighbours cancel but for a last bit
      for (size_t i = 0; i < m * k; ++i) {
        if (i % k % 2 == 1) cancelling.a[i] = -std::nextafter(cancelling.a[i - 1], 1e30f);
      }
      for (size_t i = 0; i < n * k; ++i) {
        if (i % k % 2 == 1) cancelling.w[i] = cancelling.w[i - 1];
      }
      expect_accurate(GetParam(), cancelling, multiply(GetParam(), cancelling));

      Problem outliers = plain;  // channels of 1e5, as in real hidden states
      for (size_t i = 0; i < m * k; ++i) {
        if (i % k % 37 == 3) outliers.a[i] *= 1e5f;
      }
      expect_accurate(GetParam(), outliers, multiply(GetParam(), outliers));

      Problem tiny = plain;  // denormal activations, then denormal weights
      for (float& value : tiny.a) value *= 0x1p-130f;
      expect_accurate(GetParam(), tiny, multiply(GetParam(), tiny));
      tiny = plain;
      const float scale = type == WeightType::f16 ? 0x1p-18f : 0x1p-128f;
      for (float& value : tiny.w) value = fit(type, value * scale);
      expect_accurate(GetParam(), tiny, multiply(GetParam(), tiny));

      Problem huge = plain;  // sums near the largest fp32
      for (float& value : huge.a) value *= 0x1p+118f;
      expect_accurate(GetParam(), huge, multiply(GetParam(), huge));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Matmul, ARowIsTheSameInAnyCompany) {
  for (const size_t k : {31u, 576u, 1100u, 2200u}) {
    const size_t n = 37, m_max = 512;
    const Problem all = random_problem(GetParam().type, m_max, n, k, k);
    std::vector<float> alone(m_max * n);
    std::set<uint32_t> distinct;
    const size_t checked = k == 576 ? m_max : 64;
    for (size_t i = 0; i < checked; ++i) {
      const Problem one{1, n, k, {all.a.begin() + i * k, all.a.begin() + (i + 1) * k}, all.w};
      const std::vector<float> row = multiply(GetParam(), one);
      std::copy(row.begin(), row.end(), alone.begin() + i * n);
      for (const float value : row) distinct.insert(std::bit_cast<uint32_t>(value));
    }
    ASSERT_GT(distinct.size(), checked * n / 2) << "the inputs must vary";
    std::vector<size_t> sizes;
    for (size_t m = 2; m <= 64; ++m) sizes.push_back(m);
    if (checked == m_max) sizes.insert(sizes.end(), {97, 192, 193, 512});
    for (const size_t m : sizes) {
      const Problem some{m, n, k, {all.a.begin(), all.a.begin() + m * k}, all.w};
      const std::vector<float> rows = multiply(GetParam(), some);
      for (size_t i = 0; i < m * n; ++i) {
        ASSERT_TRUE(same_bits(rows[i], alone[i]))
            << GetParam().name() << " K=" << k << ": row " << i / n << " of " << m << ", column "
            << i % n << ": " << rows[i] << ", alone " << alone[i];
      }
    }
  }
}

TEST_P(Matmul, ALongRowIsTheSameInAnyCompany) {  // k in several blocks
  for (const size_t k : {9001u, 17001u}) {
    const size_t n = 5, m_max = 40;
    const Problem all = random_problem(GetParam().type, m_max, n, k, k);
    const std::vector<float> most = multiply(GetParam(), all);
    expect_accurate(GetParam(), all, most);
    if (HasFatalFailure()) return;
    for (const size_t m : {1u, 2u, 3u, 8u, 32u, 37u}) {
      const Problem some{m, n, k, {all.a.begin(), all.a.begin() + m * k}, all.w};
      const std::vector<float> rows = multiply(GetParam(), some);
      for (size_t i = 0; i < m * n; ++i) {
        ASSERT_TRUE(same_bits(rows[i], most[i])) << GetParam().name() << " K=" << k << " M=" << m;
      }
    }
  }
}

TEST_P(Matmul, AnyDivisionOfTheColumnsAndRowsGivesTheSameBits) {
  for (const size_t m : {1u, 2u, 3u, 8u, 32u, 40u}) {
    for (const size_t k : {65u, 577u, 1500u}) {
      const size_t n = 71;
      const Problem problem = random_problem(GetParam().type, m, n, k, m * k);
      const std::vector<float> whole = multiply(GetParam(), problem);
      for (const std::vector<size_t>& cuts :
           {std::vector<size_t>{1, 2, 3, 10}, {32, 64}, {5, 5, 37}, {16, 48, 70}, {4, 12, 44}}) {
        const std::vector<float> cut =
            multiply(GetParam(), problem, {.edge = Edge::before, .cuts = cuts, .m_piece = 3});
        for (size_t i = 0; i < m * n; ++i) {
          ASSERT_TRUE(same_bits(whole[i], cut[i])) << GetParam().name() << " M=" << m << " K=" << k;
        }
      }
    }
  }
}

TEST_P(Matmul, GatheredRowsEqualTheRowsThemselves) {
  const size_t m = 45, n = 9, k = 130;
  const Problem all = random_problem(GetParam().type, m, n, k, 5);
  const std::vector<float> whole = multiply(GetParam(), all);
  const std::vector<uint32_t> rows = {44, 0, 7, 7, 13, 2, 31};
  for (size_t count = 1; count <= rows.size(); ++count) {
    Problem picked{count, n, k, all.a, all.w};
    const std::vector<float> got = multiply(GetParam(), picked, {.rows = rows.data()});
    for (size_t i = 0; i < count * n; ++i) {
      ASSERT_TRUE(same_bits(got[i], whole[rows[i / n] * n + i % n])) << GetParam().name();
    }
  }
}

TEST_P(Matmul, EveryWeightAndEveryActivationCounts) {
  for (const size_t m : {1u, 2u, 7u, 33u}) {
    const size_t n = 6, k = 67;
    const Problem problem = random_problem(GetParam().type, m, n, k, m);
    const std::vector<float> before = multiply(GetParam(), problem);
    for (size_t s = 0; s < k; ++s) {
      Problem other = problem;
      other.w[4 * k + s] += 1;
      other.a[(m - 1) * k + s] += 1;
      const std::vector<float> after = multiply(GetParam(), other);
      for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < n; ++j) {
          const bool changed = !same_bits(after[i * n + j], before[i * n + j]);
          ASSERT_EQ(changed, j == 4 || i == m - 1) << GetParam().name() << " k=" << s;
        }
      }
    }
  }
}

TEST_P(Matmul, ANaNStaysInItsColumnAndAnInfinityInItsRow) {
  for (const size_t m : {2u, 7u, 40u}) {
    const size_t n = 7, k = 70;
    Problem problem = random_problem(GetParam().type, m, n, k, m);
    problem.w[3 * k + 68] = std::nanf("");
    problem.a[1 * k + 69] = INFINITY;
    const std::vector<float> got = multiply(GetParam(), problem);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j) {
        const float value = got[i * n + j];
        if (j == 3) {
          EXPECT_TRUE(std::isnan(value));
        } else if (i == 1) {
          EXPECT_TRUE(std::isinf(value));
        } else {
          EXPECT_TRUE(std::isfinite(value));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Matmul, testing::ValuesIn(all_cases()),
                         [](const auto& tested) { return tested.param.name(); });

}  // namespace
}  // namespace splitd::kernels

// Quantised weights: their meaning against the formats' own definition, the reference product
// against sums made here in f64, and every other table against the reference, bit for bit, with
// buffers that touch guard pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "kernels/quantised.h"
#include "kernels/select.h"
#include "runtime/base/float16.h"
#include "runtime/model/formats/dequantize.h"
#include "tests/kernels/guarded.h"

namespace splitd::kernels {
namespace {

constexpr WeightType kTypes[] = {
    WeightType::q8_0, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0,
    WeightType::q5_1, WeightType::q4_k, WeightType::q5_k, WeightType::q6_k,
    WeightType::q8,   WeightType::q4,   WeightType::p4_1, WeightType::p5_0,
    WeightType::p5_1, WeightType::p4_k, WeightType::p5_k, WeightType::p6_k};

// The type of rows that these panels are made of; splitd's own are written as they are.
WeightType made_of(WeightType type) {
  for (const WeightType rows : kTypes) {
    if (rows != type && panel_type(rows) == type && type > WeightType::q4) return rows;
  }
  return type;
}

using Bytes = Guarded<std::byte>;

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Where the f16 fields of a block are.
std::vector<size_t> half_fields(WeightType type) {
  switch (type) {
    case WeightType::q4_1:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k:
      return {0, 2};
    case WeightType::q6_k:
      return {208};
    default:
      return {0};
  }
}

// n rows of random blocks whose f16 fields are what `half` gives.
template <class Half>
std::vector<std::byte> random_weights(WeightType type, size_t n, size_t k, Random& random,
                                      Half half) {
  if (const WeightType rows = made_of(type); rows != type) {
    const std::vector<std::byte> stored = random_weights(rows, n, k, random, half);
    std::vector<std::byte> out(panel_bytes(type, n, k));
    lay_out_panels(rows, stored.data(), n, k, 0, (n + kPanelRows - 1) / kPanelRows, out.data());
    return out;
  }
  std::vector<std::byte> out(n * row_bytes(type, k));
  if (is_paneled(type)) {
    int8_t levels[kGroup];
    for (size_t row = 0; row < n; ++row) {
      for (size_t group = 0; group < k / kGroup; ++group) {
        for (int8_t& level : levels) {
          level = type == WeightType::q8
                      ? static_cast<int8_t>(static_cast<int>(random.below(255)) - 127)
                      : static_cast<int8_t>(static_cast<int>(random.below(16)) - 8);
        }
        put_group(type, out.data(), k, row, group, half(), levels);
      }
    }
    return out;
  }
  for (std::byte& byte : out) byte = static_cast<std::byte>(random.below(256));
  for (size_t block = 0; block < out.size(); block += block_bytes(type)) {
    for (const size_t at : half_fields(type)) {
      const uint16_t bits = half();
      std::memcpy(out.data() + block + at, &bits, 2);
    }
  }
  return out;
}

std::vector<std::byte> plain_weights(WeightType type, size_t n, size_t k, Random& random) {
  return random_weights(type, n, k, random,
                        [&] { return to_f16(random.uniform(-0.01f, 0.01f)).bits; });
}

// All quants are of this byte, all f16 fields 0.01.
std::vector<std::byte> filled_weights(WeightType type, size_t n, size_t k, std::byte fill) {
  const WeightType rows = made_of(type);
  std::vector<std::byte> out(n * row_bytes(rows, k), fill);
  const uint16_t half = to_f16(0.01f).bits;
  if (is_paneled(rows)) {
    const size_t unit = block_bytes(rows) * kPanelRows, quants = unit - 2 * kPanelRows;
    for (size_t at = quants; at < out.size(); at += unit) {
      for (size_t r = 0; r < kPanelRows; ++r) std::memcpy(out.data() + at + 2 * r, &half, 2);
    }
    return out;
  }
  for (size_t at = 0; at < out.size(); at += block_bytes(rows)) {
    for (const size_t field : half_fields(rows)) std::memcpy(out.data() + at + field, &half, 2);
  }
  if (rows == type) return out;
  std::vector<std::byte> panels(panel_bytes(rows, n, k));
  lay_out_panels(rows, out.data(), n, k, 0, (n + kPanelRows - 1) / kPanelRows, panels.data());
  return panels;
}

struct Problem {
  WeightType type;
  size_t m, n, k;
  std::vector<float> a;      // (M, K)
  std::vector<std::byte> w;  // (N, K)
};

Problem random_problem(WeightType type, size_t m, size_t n, size_t k, uint64_t seed) {
  Random random(seed);
  Problem problem{type, m, n, k, std::vector<float>(m * k), plain_weights(type, n, k, random)};
  for (float& value : problem.a) value = random.normal();
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
std::vector<float> multiply(const KernelTable& table, const Problem& problem, const Run& how = {}) {
  const MatmulKernel& kernel = table.matmul.quantised.of(problem.type);
  const size_t m = problem.m, n = problem.n, k = problem.k;
  Guarded<float> a(problem.a.size(), how.edge);
  std::copy(problem.a.begin(), problem.a.end(), a.begin());
  Bytes weights(problem.w.size(), how.edge);
  std::copy(problem.w.begin(), problem.w.end(), weights.begin());
  Bytes prepared(kernel.prepared_bytes(m, k)), scratch(kernel.scratch_bytes(m, k));
  std::fill(prepared.begin(), prepared.end(), std::byte{0xff});  // NaN wherever it is not written
  std::fill(scratch.begin(), scratch.end(), std::byte{0xff});
  for (size_t i = 0; i < m; i += std::min(m, how.m_piece)) {
    kernel.prepare(a.data(), k, how.rows, m, k, i, std::min(m, i + std::min(m, how.m_piece)),
                   prepared.data());
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

// What is compared with it; itself where there is nothing else.
std::vector<const KernelTable*> others() {
  std::vector<const KernelTable*> tables = runnable_tables();
  if (tables.size() > 1) tables.erase(tables.begin());
  // Tables that share their products are one.
  std::vector<const KernelTable*> distinct;
  for (const KernelTable* table : tables) {
    const auto run = table->matmul.quantised.of(WeightType::q4_0).run;
    if (distinct.empty() || distinct.back()->matmul.quantised.of(WeightType::q4_0).run != run) {
      distinct.push_back(table);
    }
  }
  return distinct;
}

const KernelTable& reference() {
  return *runnable_tables().front();
}

void expect_reference_bits(const KernelTable& table, const Problem& problem, const Run& how = {}) {
  const std::vector<float> expected = multiply(reference(), problem, {.rows = how.rows});
  const std::vector<float> got = multiply(table, problem, how);
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(got[i])) continue;
    ASSERT_TRUE(same_bits(got[i], expected[i]))
        << table.name << " " << type_name(problem.type) << " M=" << problem.m << " N=" << problem.n
        << " K=" << problem.k << " at " << i / problem.n << ", " << i % problem.n << ": " << got[i]
        << " for " << expected[i];
  }
}

// N that the type allows.
size_t fit_n(WeightType type, size_t n) {
  return made_of(type) == type && is_paneled(type) ? (n + kPanelRows - 1) / kPanelRows * kPanelRows
                                                   : n;
}

class QuantisedType : public testing::TestWithParam<WeightType> {};

TEST_P(QuantisedType, DequantisesAsTheFormatDefines) {
  const WeightType type = GetParam();
  const size_t n = 32, k = 1024;
  Random random(7);
  const auto any_half = [&] {  // all finite ones
    uint16_t bits;
    do bits = static_cast<uint16_t>(random.bits());
    while ((bits & 0x7c00u) == 0x7c00u);
    return bits;
  };
  const std::vector<std::byte> w = random_weights(type, n, k, random, any_half);
  std::vector<float> got(n * k), expected(n * k);
  for (size_t row = 0; row < n; ++row) dequantise_row(type, w.data(), k, row, got.data() + row * k);
  if (is_paneled(type)) {
    for (float& value : got) ASSERT_TRUE(std::isfinite(value));
    EXPECT_GT(std::set<float>(got.begin(), got.end()).size(), 1000u) << "the inputs must vary";
    return;
  }
  DType dtype = DType::q4_0;
  while (dtype_name(dtype) != type_name(type))
    dtype = static_cast<DType>(static_cast<int>(dtype) + 1);
  dequantize(dtype, w.data(), n * k, expected.data());
  for (size_t i = 0; i < n * k; ++i) {
    ASSERT_EQ(got[i], expected[i]) << type_name(type) << " value " << i;
  }
  EXPECT_GT(std::set<float>(got.begin(), got.end()).size(), 1000u) << "the inputs must vary";
}

TEST_P(QuantisedType, WhatIsPutIsFound) {
  const WeightType type = GetParam();
  if (!is_paneled(type) || made_of(type) != type) return;
  const size_t n = 48, k = 96;
  Random random(3);
  std::vector<std::byte> w(n * row_bytes(type, k));
  std::vector<float> expected(n * k), got(k);
  for (size_t row = 0; row < n; ++row) {
    for (size_t group = 0; group < k / kGroup; ++group) {
      const f16 scale = to_f16(random.normal());
      int8_t levels[kGroup];
      for (size_t i = 0; i < kGroup; ++i) {
        const int level = type == WeightType::q8 ? static_cast<int>(random.below(255)) - 127
                                                 : static_cast<int>(random.below(16)) - 8;
        levels[i] = static_cast<int8_t>(level);
        expected[row * k + group * kGroup + i] = to_f32(scale) * static_cast<float>(level);
      }
      put_group(type, w.data(), k, row, group, scale.bits, levels);
    }
  }
  for (size_t row = 0; row < n; ++row) {
    dequantise_row(type, w.data(), k, row, got.data());
    for (size_t i = 0; i < k; ++i) ASSERT_EQ(got[i], expected[row * k + i]) << row << ", " << i;
  }
}

// Every group of every row is the same numbers in panels, whole ones and the one that N ends in.
TEST(QuantisedPanels, HoldWhatTheRowsHold) {
  for (const WeightType type : kTypes) {
    const WeightType panels = panel_type(type);
    if (panels == type) continue;
    const size_t k = 768;
    for (const size_t n : {16u, 1u, 37u, 48u}) {
      Random random(n);
      const std::vector<std::byte> rows = plain_weights(type, n, k, random);
      const size_t n_panel = (n + kPanelRows - 1) / kPanelRows;
      Bytes laid_out(panel_bytes(type, n, k));
      ASSERT_EQ(laid_out.size(), n_panel * kPanelRows * row_bytes(panels, k));
      std::fill(laid_out.begin(), laid_out.end(), std::byte{0xff});
      Bytes from(rows.size());
      std::copy(rows.begin(), rows.end(), from.begin());
      for (size_t panel = n_panel; panel-- > 0;) {
        lay_out_panels(type, from.data(), n, k, panel, panel + 1, laid_out.data());
      }
      for (size_t row = 0; row < n_panel * kPanelRows; ++row) {
        for (size_t g = 0; g < k / kGroup; ++g) {
          QuantisedGroup a, b;
          unpack_group(panels, laid_out.data(), k, row, g, b);
          if (row >= n) {
            EXPECT_TRUE(b.scale[0] == 0 && b.scale[1] == 0 && b.min == 0);
            continue;
          }
          unpack_group(type, rows.data(), k, row, g, a);
          ASSERT_EQ(std::memcmp(a.quants, b.quants, kGroup), 0)
              << type_name(type) << " " << row << ", " << g;
          ASSERT_TRUE(same_bits(a.scale[0], b.scale[0]) && same_bits(a.scale[1], b.scale[1]) &&
                      same_bits(a.min, b.min))
              << type_name(type) << " " << row << ", " << g;
        }
      }
    }
  }
}

// What the product must come near to: activations rounded as quantised.h says, everything else in
// f64; and the error of its fp32 operations, one fma and one product a group (two with a minimum or
// halves), relative to the sum of magnitudes.
TEST_P(QuantisedType, TheReferenceIsWithinItsBound) {
  for (const size_t k : {256u, 768u, 2048u}) {
    const Problem problem = random_problem(GetParam(), 3, 16, k, k);
    const std::vector<float> got = multiply(reference(), problem);
    double unrounded_error = 0, unrounded_norm = 0;
    for (size_t i = 0; i < problem.m; ++i) {
      for (size_t j = 0; j < problem.n; ++j) {
        double sum = 0, magnitude = 0, unrounded = 0;
        std::vector<float> w(k);
        dequantise_row(problem.type, problem.w.data(), k, j, w.data());
        for (size_t g = 0; g < k / kGroup; ++g) {
          const float* x = problem.a.data() + i * k + g * kGroup;
          QuantisedGroup group;
          unpack_group(problem.type, problem.w.data(), k, j, g, group);
          float most = 0;
          for (size_t s = 0; s < kGroup; ++s) most = std::max(most, std::abs(x[s]));
          const float scale = most / 127.0f, inverse = 127.0f / most;
          for (size_t s = 0; s < kGroup; ++s) {
            const double rounded = double{std::nearbyintf(x[s] * inverse)} * scale;
            const double weight = double{group.scale[s / 16]} * group.quants[s] + double{group.min};
            sum += rounded * weight;
            unrounded += double{x[s]} * w[g * kGroup + s];
            magnitude +=
                std::abs(rounded) * (std::abs(double{group.scale[s / 16]} * group.quants[s]) +
                                     std::abs(double{group.min}));
          }
        }
        const double bound = (2.0 * static_cast<double>(k) / kGroup + 4) * 0x1p-24 * magnitude;
        ASSERT_LE(std::abs(got[i * problem.n + j] - sum), bound) << type_name(GetParam());
        unrounded_error +=
            (got[i * problem.n + j] - unrounded) * (got[i * problem.n + j] - unrounded);
        unrounded_norm += unrounded * unrounded;
      }
    }
    // int8 in groups of 32 costs well below one per cent of an output.
    EXPECT_LT(std::sqrt(unrounded_error / unrounded_norm), 0.015) << type_name(GetParam());
    EXPECT_GT(unrounded_error, 0) << "activations are rounded";
  }
}

TEST_P(QuantisedType, OddSizesGiveTheReferenceBits) {
  const size_t step = block_values(GetParam());
  uint64_t seed = 1;
  for (const KernelTable* table : others()) {
    for (const size_t k : {32u, 64u, 96u, 256u, 512u, 544u, 768u, 1056u}) {
      if (k % step != 0) continue;
      for (const size_t m : {1u, 2u, 3u, 5u, 6u, 7u, 8u, 9u, 12u, 17u, 33u, 37u}) {
        for (const size_t wanted : {1u, 5u, 15u, 16u, 17u, 33u, 48u, 70u}) {
          const size_t n = fit_n(GetParam(), wanted);
          if (m > 9 && n < 17) continue;
          const Problem problem = random_problem(GetParam(), m, n, k, ++seed);
          const Edge edge = seed % 2 == 0 ? Edge::after : Edge::before;
          expect_reference_bits(*table, problem, {.edge = edge, .c_gap = seed % 3});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(QuantisedType, LongRowsGiveTheReferenceBits) {
  for (const KernelTable* table : others()) {
    for (const size_t m : {1u, 4u, 11u, 25u}) {
      for (const size_t k : {4352u, 9216u}) {
        expect_reference_bits(*table, random_problem(GetParam(), m, 48, k, m + k));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(QuantisedType, ARowIsTheSameInAnyCompany) {
  for (const KernelTable* table : others()) {
    const size_t n = 48, k = 768, m_max = 512;
    const Problem all = random_problem(GetParam(), m_max, n, k, 11);
    const std::vector<float> most = multiply(*table, all);
    const std::set<float> distinct(most.begin(), most.end());
    ASSERT_GT(distinct.size(), most.size() / 2) << "the inputs must vary";
    std::vector<size_t> sizes;
    for (size_t m = 1; m <= 64; ++m) sizes.push_back(m);
    sizes.insert(sizes.end(), {97, 192, 193});
    for (const size_t m : sizes) {
      const Problem some{GetParam(), m, n, k, {all.a.begin(), all.a.begin() + m * k}, all.w};
      const std::vector<float> rows = multiply(*table, some);
      for (size_t i = 0; i < m * n; ++i) {
        ASSERT_TRUE(same_bits(rows[i], most[i]))
            << table->name << " row " << i / n << " of " << m << ", column " << i % n;
      }
    }
  }
}

TEST_P(QuantisedType, AnyDivisionOfTheColumnsAndRowsGivesTheSameBits) {
  for (const KernelTable* table : others()) {
    for (const size_t m : {1u, 3u, 8u, 20u, 40u}) {
      const size_t n = fit_n(GetParam(), 103), k = 512;
      const Problem problem = random_problem(GetParam(), m, n, k, m);
      std::vector<std::vector<size_t>> divisions = {{16, 32, 48}, {64}, {16, 96}};
      if (!is_paneled(GetParam())) {
        divisions.insert(divisions.end(), {{1, 2, 3, 10}, {5, 5, 37}, {15, 49, 70}});
      }
      for (const std::vector<size_t>& cuts : divisions) {
        expect_reference_bits(*table, problem, {.edge = Edge::before, .cuts = cuts, .m_piece = 3});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(QuantisedType, GatheredRowsEqualTheRowsThemselves) {
  const std::vector<uint32_t> rows = {12, 0, 7, 7, 13, 2, 31, 5, 5, 1};
  for (const KernelTable* table : others()) {
    for (size_t count = 1; count <= rows.size(); ++count) {
      Problem picked = random_problem(GetParam(), 32, 16, 256, 5);
      picked.m = count;
      expect_reference_bits(*table, picked, {.rows = rows.data()});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(QuantisedType, AdversarialValues) {
  for (const KernelTable* table : others()) {
    for (const size_t m : {1u, 4u, 40u}) {
      const size_t n = 16, k = 768;
      const Problem plain = random_problem(GetParam(), m, n, k, m);

      Problem outliers = plain;  // channels of 1e5, as in real hidden states
      for (size_t i = 0; i < m * k; ++i) {
        if (i % k % 37 == 3) outliers.a[i] *= 1e5f;
      }
      expect_reference_bits(*table, outliers);

      Problem zeros = plain;  // every other group
      for (size_t i = 0; i < m * k; ++i) {
        if (i / kGroup % 2 == 0) zeros.a[i] = i % 3 == 0 ? -0.0f : 0.0f;
      }
      expect_reference_bits(*table, zeros);

      Problem same = plain;  // all quants are 127 or −127
      for (size_t i = 0; i < m * k; ++i) same.a[i] = i / kGroup % 3 == 0 ? -2.5f : 2.5f;
      expect_reference_bits(*table, same);

      Problem halves = plain;  // quants that end in one half, which are rounded to even
      for (size_t i = 0; i < m * k; ++i) {
        halves.a[i] = i % kGroup == 0 ? 127.0f : static_cast<float>(i % 251) - 125.5f;
      }
      expect_reference_bits(*table, halves);

      for (const float scale : {0x1p-130f, 0x1p-101f, 0x1p-99f, 0x1p-60f, 0x1p+60f, 0x1p+120f}) {
        Problem scaled = plain;
        for (float& value : scaled.a) value *= scale;
        expect_reference_bits(*table, scaled);
        if (HasFatalFailure()) return;
      }
      for (const unsigned pattern :
           {0x0001, 0x03ff, 0x0400, 0x7bff, 0x8001, 0xfbff, 0x0000, 0x8000}) {
        const auto bits = static_cast<uint16_t>(pattern);
        Random random(bits);
        Problem extreme = plain;
        extreme.w = random_weights(GetParam(), n, k, random, [&bits] { return bits; });
        expect_reference_bits(*table, extreme);
        for (const float value : multiply(*table, extreme)) ASSERT_TRUE(std::isfinite(value));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(QuantisedType, ExtremeQuantsGiveTheReferenceBits) {
  for (const KernelTable* table : others()) {
    for (const int fill : {0x00, 0xff, 0x80, 0x7f, 0x88}) {
      for (const size_t m : {1u, 9u}) {
        Problem problem = random_problem(GetParam(), m, 16, 512, 3);
        problem.w = filled_weights(GetParam(), 16, 512, static_cast<std::byte>(fill));
        for (size_t i = 0; i < problem.a.size(); ++i) problem.a[i] = i / 64 % 2 == 0 ? 1.f : -1.f;
        expect_reference_bits(*table, problem);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(QuantisedType, EveryActivationCounts) {
  for (const KernelTable* table : others()) {
    for (const size_t m : {1u, 7u, 10u}) {
      const size_t n = 16, k = 256;
      const Problem problem = random_problem(GetParam(), m, n, k, m);
      const std::vector<float> before = multiply(*table, problem);
      for (size_t s = m % 3; s < k; s += 3) {
        Problem other = problem;
        other.a[(m - 1) * k + s] += 1;
        const std::vector<float> after = multiply(*table, other);
        size_t changed = 0;
        for (size_t i = 0; i < m * n; ++i) {
          const bool differs = !same_bits(after[i], before[i]);
          ASSERT_TRUE(i / n == m - 1 || !differs) << table->name << " k=" << s;
          changed += static_cast<size_t>(differs);
        }
        ASSERT_GE(changed, n / 2) << table->name << " k=" << s;
      }
    }
  }
}

TEST_P(QuantisedType, WhatIsNotFiniteStaysInItsRow) {
  for (const KernelTable* table : others()) {
    for (const size_t m : {2u, 7u, 40u}) {
      Problem problem = random_problem(GetParam(), m, 16, 512, m);
      problem.a[0 * 512 + 69] = std::nanf("");
      problem.a[1 * 512 + 511] = -INFINITY;
      const std::vector<float> got = multiply(*table, problem);
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(std::isnan(got[i]), i / 16 < 2) << table->name << " row " << i / 16;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantisedType, testing::ValuesIn(kTypes),
                         [](const auto& tested) { return std::string(type_name(tested.param)); });

}  // namespace
}  // namespace splitd::kernels

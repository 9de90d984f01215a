// The search for scales: what it keeps exactly, what it never makes worse, what it refuses.
#include "runtime/model/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/model/quantise_feedback.h"

namespace splitd {
namespace {

struct Quantised {
  std::vector<std::byte> matrix;
  std::vector<float> values;  // what row 0 means now
  QuantisationLoss loss;
  std::optional<size_t> refused;
};

// One row in a panel whose other rows hold something else.
Quantised quantise(DType to, const std::vector<float>& row, std::span<const float> weights = {},
                   uint64_t at = 0) {
  Quantised out;
  out.matrix.assign(kQuantPanel * quantised_row_bytes(to, row.size()), std::byte{0xa5});
  out.refused = quantise_row(to, row, weights, out.matrix.data(), at, out.loss);
  out.values.resize(row.size());
  dequantize_row(to, out.matrix.data(), row.size(), at, out.values.data());
  return out;
}

double loss_of(const std::vector<float>& a, const std::vector<float>& b,
               std::span<const float> weights = {}) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double rest = double{a[i]} - double{b[i]};
    sum += (weights.empty() ? 1.0 : double{weights[i]}) * rest * rest;
  }
  return sum;
}

std::vector<float> normal(size_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0f, scale);
  std::vector<float> out(n);
  for (float& value : out) value = draw(random);
  return out;
}

// As llama.cpp's Q4_0: the extreme value lies on level −8.
std::vector<float> plain_q4(const std::vector<float>& row) {
  std::vector<float> out;
  for (size_t begin = 0; begin < row.size(); begin += kQuantGroup) {
    float extreme = 0;
    for (size_t i = 0; i < kQuantGroup; ++i) {
      if (std::fabs(row[begin + i]) > std::fabs(extreme)) extreme = row[begin + i];
    }
    const float scale = extreme / -8.0f;
    const float stored = to_f32(to_f16(scale));
    for (size_t i = 0; i < kQuantGroup; ++i) {
      const float level = scale != 0 ? std::floor(row[begin + i] / scale + 8.5f) : 8.0f;
      out.push_back(stored * (std::min(level, 15.0f) - 8.0f));
    }
  }
  return out;
}

TEST(Quantise, KeepsWhatLiesOnAGrid) {
  std::mt19937 random(7);
  for (const DType to : {DType::q8, DType::q4}) {
    const int least = to == DType::q8 ? -127 : -8, most = to == DType::q8 ? 127 : 7;
    for (int round = 0; round < 200; ++round) {
      std::vector<float> row(64);
      for (size_t begin = 0; begin < row.size(); begin += kQuantGroup) {
        const float scale = to_f32(f16{static_cast<uint16_t>(0x1000 + random() % 0x4000)});
        // q4 finds the scale also where no value has the extreme level.
        const int narrower = to == DType::q4 ? static_cast<int>(random() % 6) : 0;
        std::uniform_int_distribution<int> level(least + narrower, most - narrower);
        for (size_t i = 0; i < kQuantGroup; ++i) {
          row[begin + i] = scale * static_cast<float>(level(random));
        }
        if (to == DType::q8) row[begin] = scale * 127.0f;
      }
      const Quantised got = quantise(to, row);
      EXPECT_EQ(got.loss.lost, 0.0);
      for (size_t i = 0; i < row.size(); ++i) ASSERT_EQ(got.values[i], row[i]) << round << " " << i;
    }
  }
}

TEST(Quantise, LosesLessThanThePlainWay) {
  const std::vector<float> row = normal(32 * 256, 1);
  const Quantised q4 = quantise(DType::q4, row);
  const double plain = loss_of(row, plain_q4(row));
  EXPECT_LT(q4.loss.lost, 0.9 * plain);
  EXPECT_GT(q4.loss.lost, 0.5 * plain);
  EXPECT_NEAR(q4.loss.lost, loss_of(row, q4.values), 1e-9 * plain);
  EXPECT_NEAR(q4.loss.relative_rms(), std::sqrt(q4.loss.lost / q4.loss.total), 1e-12);
  const Quantised q8 = quantise(DType::q8, row);
  EXPECT_LT(q8.loss.relative_rms(), 0.008);
  EXPECT_GT(q8.loss.relative_rms(), 0.003);
}

TEST(Quantise, NeverLosesMoreThanPlainInAnyGroup) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    std::vector<float> row = normal(32, seed, std::ldexp(1.0f, static_cast<int>(seed % 20) - 10));
    if (seed % 3 == 0) row[seed % 32] *= 30.0f;
    const Quantised got = quantise(DType::q4, row);
    EXPECT_LE(got.loss.lost, loss_of(row, plain_q4(row)) * (1 + 1e-6)) << seed;
  }
}

TEST(Quantise, ImportanceMovesTheLossElsewhere) {
  std::vector<float> row = normal(32 * 64, 3);
  std::vector<float> weights(row.size(), 0.05f);
  for (size_t i = 0; i < row.size(); i += 8) weights[i] = 5.0f;
  const Quantised plain = quantise(DType::q4, row);
  const Quantised weighed = quantise(DType::q4, row, weights);
  EXPECT_LT(loss_of(row, weighed.values, weights), 0.9 * loss_of(row, plain.values, weights));
  EXPECT_GT(weighed.loss.lost, plain.loss.lost);
}

TEST(Quantise, ZeroOutliersAndTinyNumbers) {
  for (const DType to : {DType::q8, DType::q4}) {
    const Quantised zero = quantise(to, std::vector<float>(64, 0.0f));
    EXPECT_EQ(zero.loss.lost, 0.0);
    EXPECT_EQ(zero.loss.relative_rms(), 0.0);
    for (const float value : zero.values) EXPECT_EQ(value, 0.0f);

    std::vector<float> one(32, 0.0f);
    one[5] = -3.25f;  // alone: kept to what f16 can hold
    EXPECT_NEAR(quantise(to, one).values[5], -3.25f, 3.25f / 1024);

    // f16 scales end at 2^-24: what is far below becomes zero, and nothing is infinite.
    for (const float size : {1e-38f, 1e-30f, 1e-9f, 1e-7f, 1e-6f}) {
      const std::vector<float> row = normal(32, 9, size);
      const Quantised tiny = quantise(to, row);
      ASSERT_FALSE(tiny.refused);
      EXPECT_LE(loss_of(row, tiny.values), loss_of(row, std::vector<float>(32, 0.0f)));
    }
  }
}

TEST(Quantise, RefusesWhatNoScaleReaches) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const DType to : {DType::q8, DType::q4}) {
    const float reach = to == DType::q8 ? 127.0f * 65504 : 8.0f * 65504;
    for (const float bad : {nan, infinity, -infinity, 1.01f * reach, -3e38f}) {
      std::vector<float> row = normal(64, 4);
      row[45] = bad;
      EXPECT_EQ(quantise(to, row).refused, 45u) << bad;
    }
    std::vector<float> row = normal(64, 4);
    row[45] = -reach;
    const Quantised got = quantise(to, row);
    EXPECT_FALSE(got.refused);
    EXPECT_EQ(got.values[45], -reach);
  }
}

TEST(Quantise, RowsOfAPanelDoNotTouchEachOther) {
  for (const DType to : {DType::q8, DType::q4}) {
    std::vector<std::vector<float>> rows;
    std::vector<std::byte> matrix(2 * kQuantPanel * quantised_row_bytes(to, 96));
    QuantisationLoss loss;
    for (uint32_t r = 0; r < 2 * kQuantPanel; ++r) {
      rows.push_back(normal(96, r + 1));
      ASSERT_FALSE(quantise_row(to, rows[r], {}, matrix.data(), r, loss));
    }
    std::vector<float> got(96);
    for (uint32_t r = 0; r < 2 * kQuantPanel; ++r) {
      dequantize_row(to, matrix.data(), 96, r, got.data());
      const Quantised alone = quantise(to, rows[r], {}, r % kQuantPanel);
      EXPECT_EQ(got, alone.values) << r;
    }
  }
}

// Inputs of which neighbours are much alike.
std::vector<float> alike_inputs(size_t n_rows, size_t columns) {
  std::vector<float> out = normal(n_rows * columns, 11);
  for (size_t i = 1; i < out.size(); ++i) out[i] = 0.9f * out[i - 1] + 0.3f * out[i];
  return out;
}

// Σ over inputs x of (row · x − values · x)².
double output_loss(const std::vector<float>& row, const std::vector<float>& values,
                   const std::vector<float>& inputs) {
  double sum = 0;
  for (size_t begin = 0; begin < inputs.size(); begin += row.size()) {
    double rest = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      rest += (double{row[i]} - double{values[i]}) * double{inputs[begin + i]};
    }
    sum += rest * rest;
  }
  return sum;
}

Quantised with_feedback(DType to, const std::vector<float>& row, const Feedback& feedback) {
  Quantised out;
  out.matrix.assign(kQuantPanel * quantised_row_bytes(to, row.size()), std::byte{0});
  out.refused = feedback.quantise_rows(to, row, 1, out.matrix.data(), 0, &out.loss);
  out.values.resize(row.size());
  dequantize_row(to, out.matrix.data(), row.size(), 0, out.values.data());
  return out;
}

TEST(QuantiseFeedback, OutputsLoseLessThoughNumbersLoseMore) {
  constexpr size_t kColumns = 160;
  const std::vector<float> inputs = alike_inputs(600, kColumns);
  InputMoments moments(kColumns);
  moments.add(inputs.data(), kColumns, nullptr, 600, 2);
  const Feedback feedback(moments, 2);
  for (const DType to : {DType::q8, DType::q4}) {
    double plain = 0, fed = 0, plain_numbers = 0, fed_numbers = 0;
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> row = normal(kColumns, 100 + seed);
      const Quantised a = quantise(to, row), b = with_feedback(to, row, feedback);
      plain += output_loss(row, a.values, inputs);
      fed += output_loss(row, b.values, inputs);
      plain_numbers += a.loss.lost;
      fed_numbers += b.loss.lost;
      EXPECT_NEAR(b.loss.lost, loss_of(row, b.values), 1e-6 * b.loss.total);
    }
    EXPECT_LT(fed, 0.5 * plain);
    EXPECT_GT(fed_numbers, plain_numbers);
  }
}

// H = Σ x xᵀ, damped, as (Ů + I) D (Ů + I)ᵀ, as it is written down.
struct Factor {
  std::vector<std::vector<double>> u;
  std::vector<double> d;

  Factor(const std::vector<float>& inputs, size_t n) : u(n, std::vector<double>(n)), d(n) {
    std::vector<std::vector<double>> h = u;
    double trace = 0;
    for (size_t begin = 0; begin < inputs.size(); begin += n) {
      const float* x = inputs.data() + begin;
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) h[i][j] += double{x[i]} * double{x[j]};
        trace += double{x[i]} * double{x[i]};
      }
    }
    for (size_t i = 0; i < n; ++i) h[i][i] += 0.01 * trace / static_cast<double>(n);
    for (size_t k = n; k-- > 0;) {
      for (size_t i = 0; i <= k; ++i) {
        double sum = h[i][k];
        for (size_t j = k + 1; j < n; ++j) sum -= u[i][j] * d[j] * u[k][j];
        (i == k ? d[k] : u[i][k]) = sum;
      }
      for (size_t i = 0; i < k; ++i) u[i][k] /= d[k];
    }
  }
};

// LDLQ: columns in order, each once.
std::vector<float> ldlq(const std::vector<float>& row, const Factor& factor) {
  std::vector<float> out(row.size());
  for (size_t begin = 0; begin < row.size(); begin += kQuantGroup) {
    const auto wanted = [&](size_t k, size_t end) {
      double want = row[k];
      for (size_t j = 0; j < end; ++j) want += (double{row[j]} - double{out[j]}) * factor.u[j][k];
      return static_cast<float>(want);
    };
    float group[kQuantGroup], weights[kQuantGroup];
    for (size_t i = 0; i < kQuantGroup; ++i) {
      group[i] = wanted(begin + i, begin);
      weights[i] = static_cast<float>(factor.d[begin + i]);
    }
    const float scale = *group_scale(DType::q4, group, weights);
    for (size_t k = begin; k < begin + kQuantGroup; ++k) {
      out[k] = scale * nearest_level(DType::q4, wanted(k, k), scale);
    }
  }
  return out;
}

TEST(QuantiseFeedback, GroupsChosenAgainLoseLessThanColumnsChosenOnce) {
  constexpr size_t kColumns = 160;
  const std::vector<float> inputs = alike_inputs(600, kColumns);
  InputMoments moments(kColumns);
  moments.add(inputs.data(), kColumns, nullptr, 600, 1);
  const Feedback feedback(moments, 1);
  const Factor factor(inputs, kColumns);
  double once = 0, again = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> row = normal(kColumns, 300 + seed);
    once += output_loss(row, ldlq(row, factor), inputs);
    again += output_loss(row, with_feedback(DType::q4, row, feedback).values, inputs);
  }
  EXPECT_LT(again, 0.9 * once);
  EXPECT_GT(again, 0.5 * once);  // it is no other measure
}

TEST(QuantiseFeedback, WithoutInputsItIsThePlainWay) {
  const InputMoments nothing(96);
  const Feedback feedback(nothing, 1);
  const std::vector<float> row = normal(96, 5);
  EXPECT_EQ(with_feedback(DType::q4, row, feedback).values, quantise(DType::q4, row).values);
}

TEST(QuantiseFeedback, TheSameBytesHoweverTheWorkIsCut) {
  constexpr size_t kColumns = 64;
  const std::vector<float> inputs = alike_inputs(100, kColumns);
  InputMoments once(kColumns), alone(kColumns);
  once.add(inputs.data(), kColumns, nullptr, 100, 1);
  alone.add(inputs.data(), kColumns, nullptr, 100, 7);
  const Feedback a(once, 1), b(alone, 3);
  std::vector<float> rows;
  for (uint32_t r = 0; r < kQuantPanel; ++r) {
    for (const float value : normal(kColumns, r + 40)) rows.push_back(value);
  }
  std::vector<std::byte> panel(kQuantPanel * quantised_row_bytes(DType::q4, kColumns));
  std::vector<std::byte> apart = panel;
  QuantisationLoss losses[kQuantPanel];
  ASSERT_FALSE(a.quantise_rows(DType::q4, rows, kQuantPanel, panel.data(), 0, losses));
  for (uint32_t r = 0; r < kQuantPanel; ++r) {
    const auto row = std::span(rows).subspan(r * kColumns, kColumns);
    ASSERT_FALSE(b.quantise_rows(DType::q4, row, 1, apart.data(), r, losses));
  }
  EXPECT_EQ(panel, apart);
}

TEST(QuantiseFeedback, RefusesWhatCannotBe) {
  const InputMoments nothing(64);
  const Feedback feedback(nothing, 1);
  std::vector<float> row = normal(64, 5);
  row[40] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(with_feedback(DType::q4, row, feedback).refused, 40u);
  row[40] = 1e9f;
  EXPECT_TRUE(with_feedback(DType::q4, row, feedback).refused);
}

}  // namespace
}  // namespace splitd

// Norms, rope, embedding rows, sums, top-k: against f64 or exactly, with odd sizes, guard pages,
// outliers, denormals, huge values and NaN.
#include "runtime/base/float16.h"
#include "tests/kernels/rows_check.h"

namespace splitd::kernels {
namespace {

constexpr size_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 96, 576, 1001};
constexpr WeightType kWeightTypes[] = {WeightType::f32, WeightType::bf16, WeightType::f16};

// n weights of a type, ending at a guard page, and what they are in f32.
struct Weights {
  Guarded<uint8_t> bytes;
  std::vector<float> values;

  Weights(WeightType type, size_t n, Random& random)
      : bytes(n * (type == WeightType::f32 ? 4 : 2)), values(n) {
    for (size_t i = 0; i < n; ++i) {
      const float x = random.normal();
      if (type == WeightType::f32) {
        values[i] = x;
        std::memcpy(bytes.data() + i * 4, &x, 4);
        continue;
      }
      const uint16_t bits = type == WeightType::bf16 ? to_bf16(x).bits : to_f16(x).bits;
      values[i] = type == WeightType::bf16 ? to_f32(bf16{bits}) : to_f32(f16{bits});
      std::memcpy(bytes.data() + i * 2, &bits, 2);
    }
  }
};

TEST(RowsNorm, IsWithinTwoUlpOfF64FromDenormalsToHuge) {
  double worst = 0;
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : kSizes) {
      for (const Values values : {Values::normal, Values::outliers, Values::tiny, Values::huge}) {
        for (const WeightType type : kWeightTypes) {
          for (const bool plus_one : {false, true}) {
            Random random(n);
            Guarded<float> x(n), out(n);
            fill(x.data(), n, values, random);
            Weights w(type, n, random);
            const RmsNormArgs args = {x.data(), w.bytes.data(), out.data(), n,
                                      1e-6f,    type,           plus_one};
            table->rows.rms_norm(args);
            double sum = 0;
            for (const float v : x) sum += double{v} * v;
            const double r = 1 / std::sqrt(sum / static_cast<double>(n) + double{1e-6f});
            for (size_t i = 0; i < n; ++i) {
              const double weight = double{w.values[i]} + (plus_one ? 1 : 0);
              const double exact = x[i] * r * weight;
              // Below 2^-126 the product x · r is rounded more coarsely, then multiplied.
              const double coarse = std::fabs(weight) * 0x1p-149;
              const double error = std::fabs(out[i] - exact);
              ASSERT_LE(error, 2.6 * ulp_of(exact) + coarse) << table->name << " " << n;
              if (std::fabs(exact) > 1e-30) worst = std::max(worst, error / ulp_of(exact));
            }
            const std::vector<float> apart(out.begin(), out.end());
            table->rows.rms_norm({x.data(), w.bytes.data(), x.data(), n, 1e-6f, type, plus_one});
            ASSERT_TRUE(same_bits(apart.data(), x.data(), n)) << table->name << " in place";
          }
        }
      }
    }
  }
  EXPECT_GT(worst, 0.5);  // the inputs reach every rounding
  RecordProperty("worst_ulps", std::to_string(worst));
}

TEST(RowsNorm, ZeroNanAndInfinity) {
  const float ones[40] = {1, 1, 1};
  for (const KernelTable* table : runnable_tables()) {
    float x[40] = {}, out[40];
    table->rows.rms_norm({x, ones, out, 40, 1e-5f, WeightType::f32, false});
    for (const float v : out) EXPECT_EQ(v, 0) << table->name;
    for (const float bad : {NAN, INFINITY}) {
      x[37] = bad;
      x[0] = 1;
      table->rows.rms_norm({x, ones, out, 40, 1e-5f, WeightType::f32, false});
      EXPECT_TRUE(std::isnan(out[37])) << table->name;
    }
  }
}

TEST(RowsRope, TurnsEachPairAndLeavesTheRest) {
  for (const KernelTable* table : runnable_tables()) {
    for (const auto& [d_head, n_rotary] : std::vector<std::pair<size_t, size_t>>{
             {64, 64}, {128, 96}, {80, 80}, {24, 18}, {20, 20}, {2, 2}, {112, 34}, {256, 256}}) {
      const size_t n_head = 3;
      Random random(d_head);
      Guarded<float> x(n_head * d_head), cos(n_rotary / 2), sin(n_rotary / 2);
      fill(x.data(), x.size(), Values::outliers, random);
      for (size_t i = 0; i < n_rotary / 2; ++i) {
        const float angle = random.uniform(-3, 3);
        cos[i] = std::cos(angle);
        sin[i] = std::sin(angle);
      }
      const std::vector<float> before(x.begin(), x.end());
      table->rows.rope(x.data(), n_head, d_head, n_rotary, cos.data(), sin.data());
      for (size_t at = 0; at < x.size(); ++at) {
        const size_t i = at % d_head, half = n_rotary / 2, first = at - i;
        if (i >= n_rotary) {
          ASSERT_EQ(x[at], before[at]) << table->name;
          continue;
        }
        const size_t pair = i % half;
        const double a = before[first + pair], b = before[first + half + pair];
        const double exact =
            i < half ? a * cos[pair] - b * sin[pair] : b * cos[pair] + a * sin[pair];
        const double bound = (std::fabs(a) + std::fabs(b)) * 0x1p-23;  // two roundings
        ASSERT_NEAR(x[at], exact, bound + 0x1p-140) << table->name;
      }
    }
  }
}

struct FrequencyCase {
  const char* name;
  RopeShape shape;
  const float* expected;
};
struct AngleCase {
  uint32_t position;
  float cos[64], sin[64];
};
#include "tests/kernels/rows_rope_golden.inc"

// PyTorch's power is within an ulp, and each step after it may round that differently.
TEST(RowsRope, FrequenciesAreThoseOfTransformers) {
  for (const FrequencyCase& c : kFrequencyCases) {
    std::vector<float> got(c.shape.n_rotary / 2);
    rope_frequencies(c.shape, got.data());
    size_t equal = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(ulps(got[i], c.expected[i]), 2) << c.name << " " << i;
      equal += got[i] == c.expected[i] ? 1 : 0;
    }
    EXPECT_GE(equal * 10, got.size() * 8) << c.name;
    RecordProperty(c.name, std::to_string(equal) + " of " + std::to_string(got.size()));
  }
}

TEST(RowsRope, CosAndSinAreThoseOfTorch) {
  for (const AngleCase& c : kAngleCases) {
    std::vector<float> cos(64), sin(64);
    rope_table(k_llama3, 64, c.position, 1.0f, cos.data(), sin.data());
    for (size_t i = 0; i < 64; ++i) {
      const double angle = k_llama3[i] * static_cast<float>(c.position);
      EXPECT_LE(ulps(cos[i], std::cos(angle)), 0.51) << c.position << " " << i;
      EXPECT_LE(ulps(sin[i], std::sin(angle)), 0.51) << c.position << " " << i;
      EXPECT_LE(ulps(cos[i], c.cos[i]), 2) << c.position << " " << i;
      EXPECT_LE(ulps(sin[i], c.sin[i]), 2) << c.position << " " << i;
    }
    std::vector<float> scaled_cos(64), scaled_sin(64);
    rope_table(k_llama3, 64, c.position, 1.19f, scaled_cos.data(), scaled_sin.data());
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(scaled_cos[i], cos[i] * 1.19f);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(scaled_sin[i], sin[i] * 1.19f);
  }
}

TEST(RowsRope, AnyAngleUpToAMillion) {
  Random random(8);
  for (int i = 0; i < 300000; ++i) {
    const float angle = random.uniform(0, 1) * (i % 2 == 0 ? 1e6f : 10.0f);
    float cos = 0, sin = 0;
    rope_table(&angle, 1, 1, 1.0f, &cos, &sin);
    ASSERT_LE(ulps(cos, std::cos(double{angle})), 0.51) << angle;
    ASSERT_LE(ulps(sin, std::sin(double{angle})), 0.51) << angle;
  }
}

TEST(RowsSums, AddScaleAndScaledAddAreExact) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : kSizes) {
      Random random(n);
      Guarded<float> x(n), y(n);
      fill(x.data(), n, Values::outliers, random);
      fill(y.data(), n, Values::normal, random);
      std::vector<float> expected(x.begin(), x.end());
      table->rows.add(x.data(), y.data(), n);
      for (size_t i = 0; i < n; ++i) expected[i] += y[i];
      ASSERT_TRUE(same_bits(x.data(), expected.data(), n)) << table->name;
      table->rows.add_scaled(x.data(), y.data(), n, 0.37f);
      for (size_t i = 0; i < n; ++i) expected[i] = std::fma(0.37f, y[i], expected[i]);
      ASSERT_TRUE(same_bits(x.data(), expected.data(), n)) << table->name;
      table->rows.scale(x.data(), n, 45.25f);
      for (size_t i = 0; i < n; ++i) expected[i] *= 45.25f;
      ASSERT_TRUE(same_bits(x.data(), expected.data(), n)) << table->name;
    }
  }
}

TEST(RowsEmbed, RowsOfEveryType) {
  for (const KernelTable* table : runnable_tables()) {
    for (const WeightType type : kWeightTypes) {
      for (const size_t n : kSizes) {
        Random random(n);
        Weights w(type, n * 5, random);
        Guarded<float> out(n);
        for (const uint32_t id : {0u, 2u, 4u}) {
          table->rows.embed(w.bytes.data(), type, id, n, 33.75f, out.data());
          for (size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], w.values[id * n + i] * 33.75f);
        }
      }
    }
  }
}

TEST(RowsTopK, OrdersByValueThenIndex) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : {1u, 5u, 16u, 17u, 100u, 1000u, 5003u}) {
      for (const size_t k : {1u, 2u, 16u, 40u, 1000u}) {
        for (const size_t distinct : {1u, 3u, 50u, 1000000u}) {
          Random random(n * k);
          Guarded<float> x(n);
          for (float& v : x) v = static_cast<float>(random.below(distinct)) - 1;
          for (size_t i = 0; i < n; i += 3) {
            if (x[i] == 0) x[i] = -0.0f;
          }
          if (distinct == 50) std::sort(x.begin(), x.end());  // each one better than the last
          std::vector<uint32_t> order(n);
          for (size_t i = 0; i < n; ++i) order[i] = static_cast<uint32_t>(i);
          std::stable_sort(order.begin(), order.end(),
                           [&](uint32_t a, uint32_t b) { return x[a] > x[b]; });
          const size_t size = std::min(n, k);
          Guarded<float> values(size);
          Guarded<uint32_t> ids(size);
          ASSERT_EQ(table->rows.top_k(x.data(), n, k, values.data(), ids.data()), n);
          for (size_t i = 0; i < size; ++i) {
            ASSERT_EQ(ids[i], order[i]) << table->name << " " << n << " " << k << " " << distinct;
            ASSERT_EQ(values[i], x[order[i]]);
          }
        }
      }
    }
  }
}

TEST(RowsTopK, NamesTheFirstNanAndOrdersInfinities) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : {1u, 17u, 100u}) {
      for (size_t where = 0; where < n; ++where) {
        Random random(n);
        std::vector<float> x(n), values(3);
        std::vector<uint32_t> ids(3);
        fill(x.data(), n, Values::normal, random);
        x[where] = -NAN;
        x[n - 1] = NAN;
        EXPECT_EQ(table->rows.top_k(x.data(), n, 3, values.data(), ids.data()), where);
      }
    }
    const float x[] = {1, -INFINITY, INFINITY, 2, INFINITY};
    float values[5];
    uint32_t ids[5];
    EXPECT_EQ(table->rows.top_k(x, 5, 5, values, ids), 5u);
    EXPECT_EQ(std::vector<uint32_t>(ids, ids + 5), (std::vector<uint32_t>{2, 4, 3, 0, 1}));
  }
}

TEST(RowsFinite, FindsTheFirst) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : {1u, 15u, 16u, 17u, 64u, 100u}) {
      Random random(n);
      Guarded<float> x(n);
      fill(x.data(), n, Values::huge, random);
      EXPECT_EQ(table->rows.first_non_finite(x.data(), n), n);
      for (size_t where = n; where-- > 0;) {
        x[where] = where % 3 == 0 ? NAN : where % 3 == 1 ? INFINITY : -INFINITY;
        EXPECT_EQ(table->rows.first_non_finite(x.data(), n), where) << table->name;
      }
    }
  }
}

// Every operation, every vector unit, the same bits; and the norm of a row alone is that in a batch
// by construction, so this is where an order that differs would show.
TEST(RowsBits, TheVectorUnitsAgree) {
  const auto tables = vector_tables();
  for (const size_t n : kSizes) {
    std::vector<float> first;
    for (const KernelTable* table : tables) {
      Random random(n);
      std::vector<float> x(n), out(n), all;
      fill(x.data(), n, Values::outliers, random);
      Weights w(WeightType::bf16, n, random);
      const auto keep = [&](const std::vector<float>& part) {
        all.insert(all.end(), part.begin(), part.end());
      };
      table->rows.rms_norm(
          {x.data(), w.bytes.data(), out.data(), n, 1e-5f, WeightType::bf16, true});
      keep(out);
      table->rows.softmax(out.data(), n);
      keep(out);
      table->rows.softcap(x.data(), n, 30);
      keep(x);
      std::vector<float> cos(n / 2, 0.8f), sin(n / 2, 0.6f);
      table->rows.rope(x.data(), 1, n, n / 2 * 2, cos.data(), sin.data());
      keep(x);
      if (first.empty()) first = all;
      EXPECT_TRUE(same_bits(all.data(), first.data(), all.size())) << table->name;
    }
  }
}

}  // namespace
}  // namespace splitd::kernels

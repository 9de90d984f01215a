// Activations, softcap and softmax against f64, over sweeps of the whole range, in ulps.
#include "tests/kernels/rows_check.h"

namespace splitd::kernels {
namespace {

double exact_activation(Gate kind, double x) {
  switch (kind) {
    case Gate::silu:
      return x / (1 + std::exp(-x));
    case Gate::gelu_tanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Gate::gelu_erf:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
  }
  return 0;
}

// Every magnitude from 2^-140 to 2^7, both signs, and a fine grid over ±20.
std::vector<float> sweep() {
  std::vector<float> x = {0.0f, -0.0f, 0x1p-149f, -0x1p-149f};
  Random random(1);
  for (int exponent = -140; exponent <= 7; ++exponent) {
    for (int i = 0; i < 200; ++i) {
      const float magnitude = std::ldexp(random.uniform(0.5f, 1), exponent);
      x.push_back(magnitude);
      x.push_back(-magnitude);
    }
  }
  for (int i = 0; i < 200000; ++i) x.push_back(random.uniform(-20, 20));
  return x;
}

constexpr Gate kGates[] = {Gate::silu, Gate::gelu_tanh, Gate::gelu_erf};

TEST(RowsMath, ActivationsAreWithinWhatTheContractSays) {
  const std::vector<float> x = sweep(), ones(x.size(), 1.0f);
  std::vector<float> out(x.size());
  for (const KernelTable* table : runnable_tables()) {
    for (const Gate kind : kGates) {
      table->rows.gate(kind, x.data(), ones.data(), out.data(), x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = exact_activation(kind, x[i]);
        const double part = kind != Gate::silu && x[i] < 0 ? 0x1p-23 : 0;
        const double bound = 4 * ulp_of(exact) + part * std::fabs(x[i]) + 0x1p-140;
        ASSERT_LE(std::fabs(out[i] - exact), bound)
            << table->name << " gate " << static_cast<int>(kind) << " of " << x[i] << ": "
            << out[i];
      }
    }
  }
}

// Far out an activation is x or nothing, never NaN.
TEST(RowsMath, ActivationsFarOut) {
  const float x[] = {1e5f, -1e5f, 1e13f, -1e13f, 1e30f, -1e30f, 3e38f, -3e38f, NAN};
  const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  float out[9];
  for (const KernelTable* table : runnable_tables()) {
    for (const Gate kind : kGates) {
      table->rows.gate(kind, x, ones, out, 9);
      for (size_t i = 0; i < 8; ++i) EXPECT_EQ(out[i], x[i] > 0 ? x[i] : 0.0f) << table->name;
      EXPECT_TRUE(std::isnan(out[8])) << table->name;
    }
  }
}

TEST(RowsMath, GateMultipliesByUpInPlaceToo) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : {1u, 3u, 15u, 16u, 17u, 33u, 100u, 577u}) {
      Random random(n);
      Guarded<float> gate(n), up(n), out(n);
      fill(gate.data(), n, Values::normal, random);
      fill(up.data(), n, Values::normal, random);
      for (const Gate kind : kGates) {
        table->rows.gate(kind, gate.data(), up.data(), out.data(), n);
        for (size_t i = 0; i < n; ++i) {
          EXPECT_NEAR(out[i], exact_activation(kind, gate[i]) * up[i], 3e-6) << table->name;
        }
        Guarded<float> over_gate(n, Edge::before), over_up(n, Edge::before);
        std::copy(gate.begin(), gate.end(), over_gate.begin());
        std::copy(up.begin(), up.end(), over_up.begin());
        table->rows.gate(kind, over_gate.data(), up.data(), over_gate.data(), n);
        table->rows.gate(kind, gate.data(), over_up.data(), over_up.data(), n);
        EXPECT_TRUE(same_bits(out.data(), over_gate.data(), n)) << table->name;
        EXPECT_TRUE(same_bits(out.data(), over_up.data(), n)) << table->name;
      }
    }
  }
}

TEST(RowsMath, SoftcapIsWithinFourUlp) {
  const std::vector<float> x = sweep();
  for (const KernelTable* table : runnable_tables()) {
    for (const float cap : {50.0f, 30.0f, 1.0f, 0.7f}) {
      std::vector<float> out = x;
      table->rows.softcap(out.data(), out.size(), cap);
      for (size_t i = 0; i < x.size(); ++i) {
        // The quotient is rounded once: below 2^-126 by more than it would else be.
        const double bound = 4 * ulp_of(cap * std::tanh(double{x[i]} / cap)) + cap * 0x1p-149;
        ASSERT_LE(std::fabs(out[i] - cap * std::tanh(double{x[i]} / cap)), bound)
            << table->name << " cap " << cap << " of " << x[i];
      }
    }
    float far[] = {1e30f, -1e30f, INFINITY, NAN};
    table->rows.softcap(far, 4, 30);
    EXPECT_EQ(far[0], 30);
    EXPECT_EQ(far[1], -30);
    EXPECT_EQ(far[2], 30);
    EXPECT_TRUE(std::isnan(far[3])) << table->name;
  }
}

TEST(RowsMath, SoftmaxMatchesF64) {
  for (const KernelTable* table : runnable_tables()) {
    for (const size_t n : {1u, 2u, 8u, 15u, 16u, 31u, 128u, 1000u}) {
      for (const float spread : {1.0f, 30.0f, 1e4f}) {
        Random random(n);
        Guarded<float> x(n);
        for (float& v : x) v = random.normal() * spread;
        const std::vector<float> before(x.begin(), x.end());
        table->rows.softmax(x.data(), n);
        const double top = *std::max_element(before.begin(), before.end());
        double sum = 0, total = 0;
        for (const float v : before) sum += std::exp(v - top);
        for (size_t i = 0; i < n; ++i) {
          const double exact = std::exp(before[i] - top) / sum;
          // The difference from the largest is rounded once.
          const double bound = 4 * ulp_of(exact) + exact * (top - before[i]) * 0x1p-24;
          ASSERT_LE(std::fabs(x[i] - exact), bound + 0x1p-140) << table->name << " " << before[i];
          total += x[i];
        }
        EXPECT_NEAR(total, 1, 1e-6) << table->name;
      }
    }
    float bad[] = {0, NAN, 1};
    table->rows.softmax(bad, 3);
    EXPECT_TRUE(std::isnan(bad[0]) && std::isnan(bad[1]) && std::isnan(bad[2])) << table->name;
  }
}

// One function of the value alone, whatever its lane and its neighbours.
TEST(RowsMath, AValueIsTheSameInAnyLaneAndOnAnyVectorUnit) {
  Random random(5);
  std::vector<float> x(1000), up(x.size(), 1.5f);
  fill(x.data(), x.size(), Values::outliers, random);
  std::vector<std::vector<float>> of_table;
  for (const KernelTable* table : vector_tables()) {
    for (const Gate kind : kGates) {
      std::vector<float> whole(x.size());
      table->rows.gate(kind, x.data(), up.data(), whole.data(), x.size());
      for (size_t i = 0; i < x.size(); i += 7) {
        const size_t n = std::min<size_t>(1 + random.below(40), x.size() - i);
        std::vector<float> part(n);
        table->rows.gate(kind, x.data() + i, up.data() + i, part.data(), n);
        ASSERT_TRUE(same_bits(part.data(), whole.data() + i, n)) << table->name;
      }
      of_table.push_back(whole);
    }
  }
  for (size_t i = 3; i < of_table.size(); ++i) {
    EXPECT_TRUE(same_bits(of_table[i].data(), of_table[i % 3].data(), x.size()));
  }
}

}  // namespace
}  // namespace splitd::kernels

// Owns: what the tests of row kernels and attention share: errors in ulps, rows with outliers, and
// a comparison bit for bit that prints where it fails.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "tests/kernels/guarded.h"

namespace splitd::kernels {

// The spacing of f32 at x; 2^-149 below the normal range.
inline double ulp_of(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return x == 0 ? 0x1p-149 : std::ldexp(1.0, std::max(exponent - 24, -149));
}

inline double ulps(float got, double exact) {
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) == std::isnan(got) ? 0 : 1e300;
  if (double{got} == exact) return 0;
  return std::fabs(got - exact) / ulp_of(exact);
}

enum class Values { normal, outliers, tiny, huge };

// Normal numbers; with a few of 1e5; down to denormals; up to 1e30.
inline void fill(float* x, size_t n, Values kind, Random& random) {
  for (size_t i = 0; i < n; ++i) {
    x[i] = random.normal();
    if (kind == Values::outliers && random.below(40) == 0) x[i] *= 1e5f;
    if (kind == Values::tiny) x[i] *= 1e-39f;
    if (kind == Values::huge) x[i] *= random.below(2) == 0 ? 1e30f : 1e-3f;
  }
  if (n > 3) x[n / 2] = -0.0f;
}

inline bool same_bits(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (std::bit_cast<uint32_t>(a[i]) == std::bit_cast<uint32_t>(b[i])) continue;
    ADD_FAILURE() << "element " << i << " of " << n << ": " << a[i] << " and " << b[i];
    return false;
  }
  return true;
}

// The tables, the reference left out.
inline std::vector<const KernelTable*> vector_tables() {
  std::vector<const KernelTable*> tables;
  for (const KernelTable* table : runnable_tables()) {
    if (table->isa != Isa::reference) tables.push_back(table);
  }
  return tables;
}

inline const KernelTable& reference_table() {
  return *runnable_tables().front();
}

}  // namespace splitd::kernels

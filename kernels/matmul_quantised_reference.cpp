// Owns: the product of quantised weights as quantised.h defines it, one output after the other.
// Slow on purpose: nothing here may be clever.
#include <cmath>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/quantised.h"

namespace splitd::kernels {
namespace {

struct Group {
  float scale;
  int8_t quants[kGroup];
};

size_t prepared_bytes(size_t m, size_t k) {
  return m * (k / kGroup) * sizeof(Group);
}

Group quantise(const float* x) {
  Group out{};
  float most = 0;
  for (size_t i = 0; i < kGroup; ++i) {
    if (!std::isfinite(x[i])) {
      out.scale = std::nanf("");
      return out;
    }
    most = std::fmax(most, std::fabs(x[i]));
  }
  if (most < 0x1p-100f) return out;
  out.scale = most / 127.0f;
  const float inverse = 127.0f / most;
  for (size_t i = 0; i < kGroup; ++i) {
    out.quants[i] = static_cast<int8_t>(std::nearbyintf(x[i] * inverse));
  }
  return out;
}

void prepare(const float* a, size_t a_stride, const uint32_t* rows, size_t, size_t k,
             size_t m_begin, size_t m_end, void* prepared) {
  for (size_t i = m_begin; i < m_end; ++i) {
    const float* row = a + (rows != nullptr ? rows[i] : i) * a_stride;
    for (size_t g = 0; g < k / kGroup; ++g) {
      const Group group = quantise(row + g * kGroup);
      std::memcpy(static_cast<Group*>(prepared) + i * (k / kGroup) + g, &group, sizeof group);
    }
  }
}

size_t scratch_bytes(size_t, size_t) {
  return 0;
}
size_t claim_rows(size_t, size_t) {
  return kPanelRows;
}

int32_t dot(const int8_t* a, const int8_t* b, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <WeightType kType>
void run(const MatmulArgs& args) {
  constexpr bool kHalves = kType == WeightType::q6_k || kType == WeightType::p6_k;
  constexpr bool kMin = quantised_has_min(kType);
  const size_t groups = args.k / kGroup;
  const auto* a = static_cast<const Group*>(args.prepared);  // (M, groups)
  for (size_t n = args.n_begin; n < args.n_end; ++n) {
    for (size_t i = 0; i < args.m; ++i) args.c[i * args.c_stride + n] = 0;
    for (size_t g = 0; g < groups; ++g) {
      QuantisedGroup w;
      unpack_group(kType, args.w, args.k, n, g, w);
      for (size_t i = 0; i < args.m; ++i) {
        const Group& x = a[i * groups + g];
        float acc = args.c[i * args.c_stride + n];
        if (kHalves) {
          const int32_t low = dot(w.quants, x.quants, 16);
          const int32_t high = dot(w.quants + 16, x.quants + 16, 16);
          acc = std::fmaf(static_cast<float>(low), w.scale[0] * x.scale, acc);
          acc = std::fmaf(static_cast<float>(high), w.scale[1] * x.scale, acc);
        } else {
          const int32_t sum = dot(w.quants, x.quants, kGroup);
          acc = std::fmaf(static_cast<float>(sum), w.scale[0] * x.scale, acc);
        }
        if (kMin) {
          int32_t sum = 0;
          for (const int8_t quant : x.quants) sum += quant;
          acc = std::fmaf(w.min, x.scale * static_cast<float>(sum), acc);
        }
        args.c[i * args.c_stride + n] = acc;
      }
    }
  }
}

template <WeightType kType>
void add(MatmulKernels& table) {
  table.quantised.of(kType) = {prepared_bytes, prepare,    scratch_bytes,
                               run<kType>,     claim_rows, "ascending groups, fma"};
}

}  // namespace

void add_matmul_quantised_reference(MatmulKernels& table) {
  add<WeightType::q8_0>(table);
  add<WeightType::q4_0>(table);
  add<WeightType::q4_1>(table);
  add<WeightType::q5_0>(table);
  add<WeightType::q5_1>(table);
  add<WeightType::q4_k>(table);
  add<WeightType::q5_k>(table);
  add<WeightType::q6_k>(table);
  add<WeightType::q8>(table);
  add<WeightType::q4>(table);
  add<WeightType::p4_1>(table);
  add<WeightType::p5_0>(table);
  add<WeightType::p5_1>(table);
  add<WeightType::p4_k>(table);
  add<WeightType::p5_k>(table);
  add<WeightType::p6_k>(table);
}

}  // namespace splitd::kernels

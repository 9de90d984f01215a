// Owns: what a matrix product means. Activations unrounded, products exact in f64, summed in f64 in
// ascending k, rounded once to fp32. Slow on purpose: nothing here may be clever.
#include <cstring>

#include "kernels/kernels.h"
#include "runtime/base/float16.h"

namespace splitd::kernels {
namespace {

size_t prepared_bytes(size_t m, size_t k) {
  return m * k * sizeof(float);
}

void prepare(const float* a, size_t a_stride, const uint32_t* rows, size_t, size_t k,
             size_t m_begin, size_t m_end, void* prepared) {
  for (size_t i = m_begin; i < m_end; ++i) {
    const float* row = a + (rows != nullptr ? rows[i] : i) * a_stride;
    std::memcpy(static_cast<float*>(prepared) + i * k, row, k * sizeof(float));
  }
}

size_t scratch_bytes(size_t, size_t) {
  return 0;
}
size_t claim_rows(size_t, size_t) {
  return 16;
}

double value_of(float weight) {
  return weight;
}
double value_of(bf16 weight) {
  return to_f32(weight);
}
double value_of(f16 weight) {
  return to_f32(weight);
}

template <class Weight>
void run(const MatmulArgs& args) {
  const auto* a = static_cast<const float*>(args.prepared);  // (m, K)
  const auto* w = static_cast<const Weight*>(args.w);        // (N, K)
  for (size_t i = 0; i < args.m; ++i) {
    for (size_t n = args.n_begin; n < args.n_end; ++n) {
      double sum = 0;
      for (size_t k = 0; k < args.k; ++k) {
        sum += double{a[i * args.k + k]} * value_of(w[n * args.k + k]);
      }
      args.c[i * args.c_stride + n] = static_cast<float>(sum);
    }
  }
}

template <class Weight>
MatmulKernel kernel() {
  return {prepared_bytes, prepare, scratch_bytes, run<Weight>, claim_rows, "ascending k, f64"};
}

}  // namespace

void add_matmul_reference(MatmulKernels& table) {
  table.exact = {kernel<float>(), kernel<bf16>(), kernel<f16>()};
  table.native = table.exact;
}

}  // namespace splitd::kernels

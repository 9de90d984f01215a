// Owns: products with activations left in fp32, on AVX2, FMA and F16C. Every output has one
// accumulator of 8 lanes and fused multiply-adds, added up inside each four lanes as (0+2)+(1+3),
// then low half + high half:
//   f32 weights   lane l takes k ≡ l (mod 8), ascending
//   f16 weights   the same, each converted exactly
//   bf16 weights  of every 16, lane l takes k = 2l, then k = 2l + 1
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/matmul_tiles.h"

namespace splitd::kernels {
namespace {

struct Exact {
  using Vec = __m256;
  using Act = __m256;
  using Weight = __m256;
  static constexpr size_t kVecBytes = 32;
  static constexpr size_t kRows = 3, kCols = 4;  // 12 accumulators of 16 registers
  static constexpr size_t kWideRows = 1, kWideCols = 8;
  static constexpr size_t kHighPanelRows = 0, kHighPanel = kRows, kHighPanelCols = kCols;  // none
  static constexpr size_t kOneColFrom = 1, kOneColTo = 0;                                  // never
  static constexpr size_t kFewRows = 20;
  static constexpr size_t kLinearBytes = 0;  // one accumulator's latency would set the pace
  static constexpr size_t kBlockVectors = 72, kBlockPanels = 32, kBlockCols = 64;

  static Vec zero() { return _mm256_setzero_ps(); }
  static Vec load(const std::byte* from) { return _mm256_load_ps(as_floats(from)); }
  static void keep(Vec value, std::byte* to) { _mm256_store_ps(as_floats(to), value); }
  static Act act(const std::byte* from) { return load(from); }
  static void keep_weight(Weight weight, std::byte* to) { keep(weight, to); }
  static Weight kept_weight(const std::byte* from) { return load(from); }
  static Vec mul_add(Act a, Weight w, Vec sum) { return _mm256_fmadd_ps(a, w, sum); }

  static void reduce(Vec a, Vec b, Vec c, Vec d, float* out) {
    const Vec ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const Vec cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m256d abd = _mm256_castps_pd(ab), cdd = _mm256_castps_pd(cd);
    const Vec abcd = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(abd, cdd)),
                                   _mm256_castpd_ps(_mm256_unpackhi_pd(abd, cdd)));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
  }

  static const float* as_floats(const std::byte* p) { return reinterpret_cast<const float*>(p); }
  static float* as_floats(std::byte* p) { return reinterpret_cast<float*>(p); }
};

struct ExactF32 : Exact {
  static constexpr size_t kStep = 16, kSub = 2, kWeightBytes = 4;
  static constexpr const char* kOrder = "8 lanes, k mod 8, fma";

  static Weight weight(const std::byte* from, size_t sub) {
    return _mm256_loadu_ps(as_floats(from) + 8 * sub);
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    for (size_t sub = 0; sub < kSub; ++sub) keep(_mm256_loadu_ps(a + 8 * sub), to + sub * stride);
  }
};

struct ExactF16 : Exact {
  static constexpr size_t kStep = 32, kSub = 4, kWeightBytes = 2;
  static constexpr const char* kOrder = "8 lanes, k mod 8, fma";

  static Weight weight(const std::byte* from, size_t sub) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + sub));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    for (size_t sub = 0; sub < kSub; ++sub) keep(_mm256_loadu_ps(a + 8 * sub), to + sub * stride);
  }
};

struct ExactBf16 : Exact {
  static constexpr size_t kStep = 32, kSub = 4, kWeightBytes = 2;
  static constexpr const char* kOrder = "8 lanes, k/2 mod 8, even k before odd, fma";

  static Weight weight(const std::byte* from, size_t sub) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + sub / 2);
    return _mm256_castsi256_ps(sub % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                                            : _mm256_and_si256(pairs, _mm256_set1_epi32(-65536)));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    for (size_t half = 0; half < 2; ++half, a += 16, to += 2 * stride) {
      // Eight floats in two registers: quarters 0 2 | 1 3, so that a shuffle inside each 128 bits
      // leaves the even (or the odd) ones in order.
      const __m256 low = _mm256_loadu_ps(a), high = _mm256_loadu_ps(a + 8);
      const __m256 x = _mm256_permute2f128_ps(low, high, 0x20);
      const __m256 y = _mm256_permute2f128_ps(low, high, 0x31);
      keep(_mm256_shuffle_ps(x, y, 0x88), to);
      keep(_mm256_shuffle_ps(x, y, 0xdd), to + stride);
    }
  }
};

}  // namespace

void add_matmul_avx2(MatmulKernels& table) {
  table.exact = {Matmul<ExactF32>::kernel(), Matmul<ExactBf16>::kernel(),
                 Matmul<ExactF16>::kernel()};
  table.native = table.exact;
}

}  // namespace splitd::kernels

// Owns: the 16-lane accumulator that the AVX-512 products share, and the tree that adds it up:
// inside each four lanes (0+2)+(1+3), then over the four quarters (0+2)+(1+3).
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace splitd::kernels {
namespace {

struct Lanes512 {
  using Vec = __m512;
  static constexpr size_t kVecBytes = 64;
  static constexpr size_t kRows = 6, kCols = 4;  // 24 accumulators of 32 registers
  static constexpr size_t kWideRows = 2, kWideCols = 8;
  // Few rows: up to 8 in one panel by 2 columns, or 4 and 5 by one; memory likes columns in the
  // order in which they lie.
  static constexpr size_t kHighPanelRows = 8, kHighPanel = 8, kHighPanelCols = 2;
  static constexpr size_t kOneColFrom = 4, kOneColTo = 5;
  static constexpr size_t kFewRows = 32;
  static constexpr size_t kLinearBytes = 12288;  // of activations, so that they stay in the L1
  static constexpr size_t kBlockVectors = 512, kBlockPanels = 16, kBlockCols = 32;

  static Vec zero() { return _mm512_setzero_ps(); }
  static Vec load(const std::byte* from) { return _mm512_load_ps(from); }
  static void keep(Vec value, std::byte* to) { _mm512_store_ps(to, value); }

  static void reduce(Vec a, Vec b, Vec c, Vec d, float* out) {
    const Vec ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Vec cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512d abd = _mm512_castps_pd(ab), cdd = _mm512_castps_pd(cd);
    const Vec abcd = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(abd, cdd)),
                                   _mm512_castpd_ps(_mm512_unpackhi_pd(abd, cdd)));
    const __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }
};

}  // namespace
}  // namespace splitd::kernels

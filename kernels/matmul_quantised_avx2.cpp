// Owns: products of quantised weights on AVX2, FMA and F16C: 8 weight rows to a vector.
// vpmaddubsw adds pairs of unsigned · signed products in 16 bits. Quants of 4, 5 and 6 bits leave
// room for 8, 4 and 2 of its results there; of 8 bits, magnitudes are multiplied by activations
// that take the weights' signs, which is at most 2 · 128 · 127.
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/quantised_tiles.h"

namespace splitd::kernels {
namespace {

struct Bytes256 {
  using Quads = __m256i;
  using Ints = __m256i;
  using Floats = __m256;
  static constexpr size_t kLanes = 8;
  static constexpr bool kPairs = false;
  static constexpr size_t kFewRows = 4, kPassRows = 16;
  static constexpr size_t kRows = 3, kLeastRows = 2, kCols = 2;
  static constexpr size_t kBlockVectors = 4, kBlockGroups = 128, kSmallGroups = 16;

  // ---------------------------------------------------------------- loading

  static __m128i load16(const std::byte* p) { return _mm_loadu_si128((const __m128i*)p); }
  static Quads load(const std::byte* p) { return _mm256_loadu_si256((const __m256i*)p); }

  // 16 bytes of each of 8 rows, dword by dword.
  static KERNEL_INLINE void columns(const std::byte* p, size_t s, Quads (&out)[4]) {
    Quads rows[4];  // half h of rows[j]: row 4·h + j
    KERNEL_UNROLL
    for (size_t j = 0; j < 4; ++j) {
      const std::byte* at = p + j * s;
      rows[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(at)), load16(at + 4 * s), 1);
    }
    const Quads a = _mm256_unpacklo_epi32(rows[0], rows[1]);
    const Quads b = _mm256_unpacklo_epi32(rows[2], rows[3]);
    const Quads c = _mm256_unpackhi_epi32(rows[0], rows[1]);
    const Quads d = _mm256_unpackhi_epi32(rows[2], rows[3]);
    out[0] = _mm256_unpacklo_epi64(a, b);
    out[1] = _mm256_unpackhi_epi64(a, b);
    out[2] = _mm256_unpacklo_epi64(c, d);
    out[3] = _mm256_unpackhi_epi64(c, d);
  }

  static KERNEL_INLINE int bits32(const std::byte* p) {
    int bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
  }
  static KERNEL_INLINE __m128i four_words(const std::byte* p, size_t s) {
    __m128i out = _mm_cvtsi32_si128(bits32(p));
    out = _mm_insert_epi32(out, bits32(p + s), 1);
    out = _mm_insert_epi32(out, bits32(p + 2 * s), 2);
    return _mm_insert_epi32(out, bits32(p + 3 * s), 3);
  }
  // A word of each row.
  static KERNEL_INLINE Quads words(const std::byte* p, size_t s) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(four_words(p, s)),
                                   four_words(p + 4 * s, s), 1);
  }
  static KERNEL_INLINE Floats high_halves(Quads words) {
    const Quads high = _mm256_srli_epi32(words, 16);
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
  }
  static KERNEL_INLINE Floats low_halves(Quads words) {
    return high_halves(_mm256_slli_epi32(words, 16));
  }
  // A 16-bit float of each row, with something behind it, or before it.
  static KERNEL_INLINE Floats halves(const std::byte* p, size_t s) {
    return low_halves(words(p, s));
  }
  static KERNEL_INLINE Floats halves_behind(const std::byte* p, size_t s) {
    return high_halves(words(p, s));
  }
  static KERNEL_INLINE void two_halves(Quads words, Floats& low, Floats& high) {
    low = low_halves(words);
    high = high_halves(words);
  }
  static Floats near_halves(const std::byte* p) { return _mm256_cvtph_ps(load16(p)); }

  static __m128i load8(const std::byte* p) { return _mm_loadl_epi64((const __m128i*)p); }
  static Floats near_bytes(const std::byte* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p)));
  }
  static Floats near_signed_bytes(const std::byte* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(p)));
  }

  // ---------------------------------------------------------------- bits

  static Quads bits_of(Quads x, uint32_t mask) {
    return _mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(mask)));
  }
  static Quads low_nibbles(Quads x) { return bits_of(x, 0x0f0f0f0fu); }
  static Quads high_nibbles(Quads x) { return bits_of(_mm256_srli_epi32(x, 4), 0x0f0f0f0fu); }
  static Quads either(Quads a, Quads b) { return _mm256_or_si256(a, b); }
  static Quads with_bits(Quads a, Quads b, uint32_t mask) { return either(a, bits_of(b, mask)); }
  template <unsigned kBits>
  static Quads shift_right(Quads x) {
    return _mm256_srli_epi32(x, kBits);
  }
  template <unsigned kBits>
  static Quads shift_left(Quads x) {
    return _mm256_slli_epi32(x, kBits);
  }
  static Quads from_signed(Quads x) { return x; }
  // Bit 4·d + b of each row's word is bit 4 of byte b of w[d].
  static KERNEL_INLINE void add_fifth_bits(Quads words, Quads (&w)[8]) {
    KERNEL_UNROLL
    for (size_t d = 0; d < 8; ++d) {
      const int byte = 0x01010101 * static_cast<int>(d / 2);
      const Quads spread = _mm256_shuffle_epi8(
          words, _mm256_set_epi32(0x0c0c0c0c + byte, 0x08080808 + byte, 0x04040404 + byte, byte,
                                  0x0c0c0c0c + byte, 0x08080808 + byte, 0x04040404 + byte, byte));
      const Quads bits = _mm256_set1_epi32(d % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
      const Quads set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits);
      w[d] = either(w[d], _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }
  }
  static KERNEL_INLINE Floats unsigned_byte(Quads x, size_t j) {
    const Quads byte = _mm256_srl_epi32(x, _mm_cvtsi32_si128(static_cast<int>(8 * j)));
    return _mm256_cvtepi32_ps(_mm256_and_si256(byte, _mm256_set1_epi32(255)));
  }
  static KERNEL_INLINE Floats signed_byte(Quads x, size_t j) {
    const Quads high = _mm256_sll_epi32(x, _mm_cvtsi32_si128(static_cast<int>(24 - 8 * j)));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(high, 24));
  }

  // ---------------------------------------------------------------- products

  static Floats zero() { return _mm256_setzero_ps(); }
  static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats negative(Floats a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
  static Floats times(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  static Floats mul_add(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
  static Floats mul_add_one(Floats a, float b, Floats sum) {
    return _mm256_fmadd_ps(a, _mm256_set1_ps(b), sum);
  }
  static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
  static KERNEL_INLINE Quads four(const int8_t* quants) {
    int bits;
    std::memcpy(&bits, quants, sizeof bits);
    return _mm256_set1_epi32(bits);
  }

  // So many results of vpmaddubsw fit 16 bits.
  static constexpr size_t fit(unsigned shift) {
    return shift == 3 ? 8 : shift == 5 ? 2 : shift == 7 ? 1 : 4;
  }
  template <unsigned kShift>
  static KERNEL_INLINE Ints pairs(Quads w, Quads a) {
    if constexpr (kShift == 7)
      return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    return _mm256_maddubs_epi16(w, a);
  }
  template <unsigned kShift>
  static KERNEL_INLINE Ints begin(int32_t minus_sum) {
    if constexpr (kShift == 0 || kShift == 7) return _mm256_setzero_si256();
    return _mm256_slli_epi32(_mm256_set1_epi32(minus_sum), kShift);
  }

  template <unsigned kShift, size_t kFrom, size_t kTo, bool kChains>
  static KERNEL_INLINE Ints dot(const Quads (&w)[8], const int8_t* quants, int32_t minus_sum) {
    Ints sum = begin<kShift>(minus_sum);
    constexpr size_t kFit = fit(kShift) < kTo - kFrom ? fit(kShift) : kTo - kFrom;
    KERNEL_UNROLL
    for (size_t d = kFrom; d < kTo; d += kFit) {
      Ints some = pairs<kShift>(w[d], four(quants + 4 * d));
      KERNEL_UNROLL
      for (size_t e = d + 1; e < d + kFit; ++e) {
        some = _mm256_add_epi16(some, pairs<kShift>(w[e], four(quants + 4 * e)));
      }
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(some, _mm256_set1_epi16(1)));
    }
    return sum;
  }

  template <unsigned kShift, size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_tile(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Ints (&sums)[R][C]) {
    constexpr size_t kFit = fit(kShift) < kTo - kFrom ? fit(kShift) : kTo - kFrom;
    KERNEL_UNROLL
    for (size_t d = kFrom; d < kTo; d += kFit) {
      Ints some[R][C];
      KERNEL_UNROLL
      for (size_t e = d; e < d + kFit; ++e) {
        Quads weights[C];
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) {
          weights[j] = _mm256_load_si256((const __m256i*)(w + j * w_bytes + e * 32));
        }
        KERNEL_UNROLL
        for (size_t i = 0; i < R; ++i) {
          const Quads a = four(act[i].quants + 4 * e);
          KERNEL_UNROLL
          for (size_t j = 0; j < C; ++j) {
            const Ints more = pairs<kShift>(weights[j], a);
            some[i][j] = e == d ? more : _mm256_add_epi16(some[i][j], more);
          }
        }
      }
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) {
          const Ints wide = _mm256_madd_epi16(some[i][j], _mm256_set1_epi16(1));
          sums[i][j] = d == kFrom ? wide : _mm256_add_epi32(sums[i][j], wide);
        }
      }
    }
    if constexpr (kShift == 0 || kShift == 7) return;
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      const Ints start = begin<kShift>(kTo - kFrom == 8 ? act[i].minus_sum
                                       : kFrom == 0     ? act[i].minus_low_sum
                                                        : act[i].minus_sum - act[i].minus_low_sum);
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) sums[i][j] = _mm256_add_epi32(sums[i][j], start);
    }
  }

  // ---------------------------------------------------------------- storing

  static void keep(Quads x, std::byte* to) { _mm256_store_si256((__m256i*)to, x); }
  static void keep(Floats x, std::byte* to) { _mm256_store_ps((float*)to, x); }
  static Floats kept_floats(const std::byte* from) { return _mm256_load_ps((const float*)from); }
  static Floats load_floats(const float* c) { return _mm256_loadu_ps(c); }
  static void store(Floats x, float* c) { _mm256_storeu_ps(c, x); }
  static Quads lanes(size_t first, size_t end) {
    const Quads index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_andnot_si256(
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(first)), index),
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(end)), index));
  }
  static Floats load_part(const float* c, size_t first, size_t end) {
    return _mm256_maskload_ps(c, lanes(first, end));
  }
  static void store_part(Floats x, float* c, size_t first, size_t end) {
    _mm256_maskstore_ps(c, lanes(first, end), x);
  }

  // ---------------------------------------------------------------- activations

  static __m128i folded_max(Quads x) {
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  }
  static uint32_t largest_magnitude(const float* x) {
    Quads most = _mm256_setzero_si256();
    for (size_t i = 0; i < 4; ++i) {
      const Quads bits = _mm256_castps_si256(_mm256_loadu_ps(x + 8 * i));
      most = _mm256_max_epi32(most, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
    }
    const __m128i two = folded_max(most);
    return static_cast<uint32_t>(
        _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1))));
  }
  static int32_t total(Quads x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
  }
  static void round_quants(const float* x, float inverse, int8_t* quants, int32_t& low_sum,
                           int32_t& sum) {
    const __m256 factor = _mm256_set1_ps(inverse);
    Quads whole[4];
    for (size_t i = 0; i < 4; ++i) {
      whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor));
    }
    low_sum = total(_mm256_add_epi32(whole[0], whole[1]));
    sum = low_sum + total(_mm256_add_epi32(whole[2], whole[3]));
    const Quads bytes = _mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]),
                                           _mm256_packs_epi32(whole[2], whole[3]));
    const Quads order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i*)quants, _mm256_permutevar8x32_epi32(bytes, order));
  }
};

}  // namespace

void add_matmul_quantised_avx2(MatmulKernels& table) {
  add_all_quantised<Bytes256>(table);
}

}  // namespace splitd::kernels

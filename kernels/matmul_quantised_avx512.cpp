// Owns: products of quantised weights on AVX-512 with VNNI: 16 weight rows to a vector, 64 products
// an instruction. vpdpbusd wants one side unsigned: that is the weights', as they are stored, or
// plus 128; what that is too much is taken off by where the sum begins.
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/quantised_tiles.h"

namespace splitd::kernels {
namespace {

struct Vnni512 {
  using Quads = __m512i;
  using Ints = __m512i;
  using Floats = __m512;
  static constexpr size_t kLanes = 16;
  static constexpr bool kPairs = false;
  static constexpr size_t kFewRows = 8, kPassRows = 32;
  static constexpr size_t kRows = 6, kLeastRows = 4, kCols = 2;
  static constexpr size_t kBlockVectors = 2, kBlockGroups = 128, kSmallGroups = 16;

  // ---------------------------------------------------------------- loading

  static __m128i load16(const std::byte* p) { return _mm_loadu_si128((const __m128i*)p); }
  static Quads load(const std::byte* p) { return _mm512_loadu_si512(p); }

  // 16 bytes of each of 16 rows, dword by dword.
  static KERNEL_INLINE void columns(const std::byte* p, size_t s, Quads (&out)[4]) {
    Quads rows[4];  // quarter q of rows[j]: row 4·q + j
    KERNEL_UNROLL
    for (size_t j = 0; j < 4; ++j) {
      const std::byte* at = p + j * s;
      rows[j] = _mm512_castsi128_si512(load16(at));
      rows[j] = _mm512_mask_broadcast_i32x4(rows[j], 0x00f0, load16(at + 4 * s));
      rows[j] = _mm512_mask_broadcast_i32x4(rows[j], 0x0f00, load16(at + 8 * s));
      rows[j] = _mm512_mask_broadcast_i32x4(rows[j], 0xf000, load16(at + 12 * s));
    }
    const Quads a = _mm512_unpacklo_epi32(rows[0], rows[1]);
    const Quads b = _mm512_unpacklo_epi32(rows[2], rows[3]);
    const Quads c = _mm512_unpackhi_epi32(rows[0], rows[1]);
    const Quads d = _mm512_unpackhi_epi32(rows[2], rows[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
  }

  static KERNEL_INLINE __m128i word(const std::byte* p) {
    int bits;
    std::memcpy(&bits, p, sizeof bits);
    return _mm_cvtsi32_si128(bits);
  }
  static KERNEL_INLINE int bits32(const std::byte* p) {
    int bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
  }
  static KERNEL_INLINE __m128i four_words(const std::byte* p, size_t s) {
    __m128i out = word(p);
    out = _mm_insert_epi32(out, bits32(p + s), 1);
    out = _mm_insert_epi32(out, bits32(p + 2 * s), 2);
    return _mm_insert_epi32(out, bits32(p + 3 * s), 3);
  }
  // A word of each row.
  static KERNEL_INLINE Quads words(const std::byte* p, size_t s) {
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(four_words(p, s)),
                                                four_words(p + 4 * s, s), 1);
    p += 8 * s;
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(four_words(p, s)),
                                                 four_words(p + 4 * s, s), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  static KERNEL_INLINE Floats low_halves(Quads words) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
  }
  static KERNEL_INLINE Floats high_halves(Quads words) {
    return low_halves(_mm512_srli_epi32(words, 16));
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
  static Floats near_halves(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
  }

  static Floats near_bytes(const std::byte* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(p)));
  }
  static Floats near_signed_bytes(const std::byte* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p)));
  }

  // ---------------------------------------------------------------- bits

  static Quads bits_of(Quads x, uint32_t mask) {
    return _mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(mask)));
  }
  static Quads low_nibbles(Quads x) { return bits_of(x, 0x0f0f0f0fu); }
  static Quads high_nibbles(Quads x) { return bits_of(_mm512_srli_epi32(x, 4), 0x0f0f0f0fu); }
  static Quads either(Quads a, Quads b) { return _mm512_or_si512(a, b); }
  // a | (b & mask)
  static Quads with_bits(Quads a, Quads b, uint32_t mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32(static_cast<int>(mask)), 0xf8);
  }
  template <unsigned kBits>
  static Quads shift_right(Quads x) {
    return _mm512_srli_epi32(x, kBits);
  }
  template <unsigned kBits>
  static Quads shift_left(Quads x) {
    return _mm512_slli_epi32(x, kBits);
  }
  static Quads from_signed(Quads x) { return _mm512_xor_si512(x, _mm512_set1_epi8(-128)); }
  // Bit 4·d + b of each row's word is bit 4 of byte b of w[d].
  static KERNEL_INLINE void add_fifth_bits(Quads words, Quads (&w)[8]) {
    const Quads even = _mm512_set1_epi32(0x08040201),
                odd = _mm512_set1_epi32(static_cast<int>(0x80402010u));
    const Quads bit = _mm512_set1_epi8(16);
    KERNEL_UNROLL
    for (size_t d = 0; d < 8; ++d) {
      const int byte = static_cast<int>(d / 2);
      const Quads spread = _mm512_shuffle_epi8(
          words, _mm512_set_epi32(0x0c0c0c0c + 0x01010101 * byte, 0x08080808 + 0x01010101 * byte,
                                  0x04040404 + 0x01010101 * byte, 0x01010101 * byte,
                                  0x0c0c0c0c + 0x01010101 * byte, 0x08080808 + 0x01010101 * byte,
                                  0x04040404 + 0x01010101 * byte, 0x01010101 * byte,
                                  0x0c0c0c0c + 0x01010101 * byte, 0x08080808 + 0x01010101 * byte,
                                  0x04040404 + 0x01010101 * byte, 0x01010101 * byte,
                                  0x0c0c0c0c + 0x01010101 * byte, 0x08080808 + 0x01010101 * byte,
                                  0x04040404 + 0x01010101 * byte, 0x01010101 * byte));
      const __mmask64 set = _mm512_test_epi8_mask(spread, d % 2 == 0 ? even : odd);
      w[d] = _mm512_mask_add_epi8(w[d], set, w[d], bit);
    }
  }
  static KERNEL_INLINE Floats unsigned_byte(Quads x, size_t j) {
    const Quads byte = _mm512_srl_epi32(x, _mm_cvtsi32_si128(static_cast<int>(8 * j)));
    return _mm512_cvtepi32_ps(_mm512_and_si512(byte, _mm512_set1_epi32(255)));
  }
  static KERNEL_INLINE Floats signed_byte(Quads x, size_t j) {
    const Quads high = _mm512_sll_epi32(x, _mm_cvtsi32_si128(static_cast<int>(24 - 8 * j)));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(high, 24));
  }

  // ---------------------------------------------------------------- products

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats negative(Floats a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
  static Floats times(Floats a, float b) { return _mm512_mul_ps(a, _mm512_set1_ps(b)); }
  static Floats mul_add(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
  static Floats mul_add_one(Floats a, float b, Floats sum) {
    return _mm512_fmadd_ps(a, _mm512_set1_ps(b), sum);
  }
  static Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }

  template <unsigned kShift>
  static KERNEL_INLINE Ints begin(int32_t minus_sum) {
    if constexpr (kShift == 0) return _mm512_setzero_si512();
    return _mm512_slli_epi32(_mm512_set1_epi32(minus_sum), kShift);
  }
  static KERNEL_INLINE Quads four(const int8_t* quants) {
    int bits;
    std::memcpy(&bits, quants, sizeof bits);
    return _mm512_set1_epi32(bits);
  }

  // Σ over quads kFrom … kTo − 1 of weights · activations, from −2^kShift · Σ activations.
  template <unsigned kShift, size_t kFrom, size_t kTo, bool kChains>
  static KERNEL_INLINE Ints dot(const Quads (&w)[8], const int8_t* quants, int32_t minus_sum) {
    Ints sum = begin<kShift>(minus_sum), other = _mm512_setzero_si512();
    KERNEL_UNROLL
    for (size_t d = kFrom; d < kTo; ++d) {
      Ints& chain = kChains && d % 2 != 0 ? other : sum;
      chain = _mm512_dpbusd_epi32(chain, w[d], four(quants + 4 * d));
    }
    return kChains ? _mm512_add_epi32(sum, other) : sum;
  }

  template <unsigned kShift, size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_tile(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Ints (&sums)[R][C]) {
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      const bool whole = kTo - kFrom == 8;
      const Ints start = begin<kShift>(whole        ? act[i].minus_sum
                                       : kFrom == 0 ? act[i].minus_low_sum
                                                    : act[i].minus_sum - act[i].minus_low_sum);
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) sums[i][j] = start;
    }
    KERNEL_UNROLL
    for (size_t d = kFrom; d < kTo; ++d) {
      Quads weights[C];
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) weights[j] = _mm512_load_si512(w + j * w_bytes + d * 64);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        const Quads a = four(act[i].quants + 4 * d);
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) {
          sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], weights[j], a);
        }
      }
    }
  }

  // ---------------------------------------------------------------- storing

  static void keep(Quads x, std::byte* to) { _mm512_store_si512(to, x); }
  static void keep(Floats x, std::byte* to) { _mm512_store_ps(to, x); }
  static Floats kept_floats(const std::byte* from) { return _mm512_load_ps(from); }
  static Floats load_floats(const float* c) { return _mm512_loadu_ps(c); }
  static void store(Floats x, float* c) { _mm512_storeu_ps(c, x); }
  static __mmask16 lanes(size_t first, size_t end) {
    return static_cast<__mmask16>((1u << end) - (1u << first));
  }
  static Floats load_part(const float* c, size_t first, size_t end) {
    return _mm512_maskz_loadu_ps(lanes(first, end), c);
  }
  static void store_part(Floats x, float* c, size_t first, size_t end) {
    _mm512_mask_storeu_ps(c, lanes(first, end), x);
  }

  // ---------------------------------------------------------------- activations

  static uint32_t largest_magnitude(const float* x) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    return static_cast<uint32_t>(_mm512_reduce_max_epi32(
        _mm512_max_epi32(_mm512_and_si512(_mm512_loadu_si512(x), magnitude),
                         _mm512_and_si512(_mm512_loadu_si512(x + 16), magnitude))));
  }
  static void round_quants(const float* x, float inverse, int8_t* quants, int32_t& low_sum,
                           int32_t& sum) {
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), factor));
    const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), factor));
    _mm_storeu_si128((__m128i*)quants, _mm512_cvtepi32_epi8(low));
    _mm_storeu_si128((__m128i*)(quants + 16), _mm512_cvtepi32_epi8(high));
    low_sum = _mm512_reduce_add_epi32(low);
    sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
  }
};

}  // namespace

void add_matmul_quantised_avx512(MatmulKernels& table) {
  add_all_quantised<Vnni512>(table);
}

}  // namespace splitd::kernels

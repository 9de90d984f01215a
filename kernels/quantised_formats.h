// Owns: from blocks as they are stored to vectors that multiply, for any vector type. Included by
// the units of one instruction set with their own policy P; everything is in an unnamed namespace.
//
// A vector of P::Quads holds four neighbouring values of P::kLanes weight rows, a row in each
// 32-bit lane; eight of them are a group. Rows are read 16 bytes at a time and turned over
// (P::columns), so blocks may begin anywhere. Quants are handed on less nothing: 0 … 15, 0 … 31, 0
// … 63 and, of 8 bits, as P::from_signed leaves them; 2^kShift is what has to be taken off each (0:
// nothing).
//
// F::unpack(p, s, sink) reads the block at p of P::kLanes rows s bytes apart (of a panel: the unit
// at p, lanes from row s on) and calls sink(j, group) for its groups j = 0 … F::kGroups − 1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/matmul_tiles.h"
#include "kernels/quantised.h"

namespace splitd::kernels {
namespace {

template <class P>
struct UnpackedGroup {
  typename P::Quads w[8];
  typename P::Floats scale[2];  // of the halves; the second only where F::kHalves
  typename P::Floats min;       // only where F::kMin
};

// What most formats are: a group a block, no minimum.
template <WeightType kWeightType, unsigned kTakenOff>
struct PlainFormat {
  static constexpr WeightType kType = kWeightType;
  static constexpr unsigned kShift = kTakenOff;
  static constexpr size_t kGroups = 1;
  static constexpr bool kMin = false, kHalves = false, kPaneled = false;
  // Panels are prefetched from so many rows of activations (times vectors to a panel's lanes) on.
  static constexpr size_t kPrefetchFrom = 2;
};

// Low nibbles are values 0 … 15, high ones 16 … 31.
template <class P>
KERNEL_INLINE void put_nibbles(const typename P::Quads (&packed)[4], UnpackedGroup<P>& out) {
  KERNEL_UNROLL
  for (size_t d = 0; d < 4; ++d) {
    out.w[d] = P::low_nibbles(packed[d]);
    out.w[4 + d] = P::high_nibbles(packed[d]);
  }
}

template <class P>
struct FormatQ8_0 : PlainFormat<WeightType::q8_0, 7> {
  static constexpr size_t kBlockBytes = 34;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads raw[2][4];
    P::columns(p + 2, s, raw[0]);
    P::columns(p + 18, s, raw[1]);
    KERNEL_UNROLL
    for (size_t d = 0; d < 8; ++d) out.w[d] = P::from_signed(raw[d / 4][d % 4]);
    out.scale[0] = P::halves(p, s);
    sink(size_t{0}, out);
  }
};

template <class P>
struct FormatQ4_0 : PlainFormat<WeightType::q4_0, 3> {
  static constexpr size_t kBlockBytes = 18;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads packed[4];
    P::columns(p + 2, s, packed);
    put_nibbles<P>(packed, out);
    out.scale[0] = P::halves(p, s);
    sink(size_t{0}, out);
  }
};

template <class P>
struct FormatQ4_1 : PlainFormat<WeightType::q4_1, 0> {
  static constexpr size_t kBlockBytes = 20;
  static constexpr bool kMin = true;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads packed[4];
    P::columns(p + 4, s, packed);
    put_nibbles<P>(packed, out);
    P::two_halves(P::words(p, s), out.scale[0], out.min);
    sink(size_t{0}, out);
  }
};

template <class P>
struct FormatQ5_0 : PlainFormat<WeightType::q5_0, 4> {
  static constexpr size_t kBlockBytes = 22;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads packed[4];
    P::columns(p + 6, s, packed);
    put_nibbles<P>(packed, out);
    P::add_fifth_bits(P::words(p + 2, s), out.w);
    out.scale[0] = P::halves(p, s);
    sink(size_t{0}, out);
  }
};

template <class P>
struct FormatQ5_1 : PlainFormat<WeightType::q5_1, 0> {
  static constexpr size_t kBlockBytes = 24;
  static constexpr bool kMin = true;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads packed[4];
    P::columns(p + 8, s, packed);
    put_nibbles<P>(packed, out);
    P::add_fifth_bits(P::words(p + 4, s), out.w);
    P::two_halves(P::words(p, s), out.scale[0], out.min);
    sink(size_t{0}, out);
  }
};

// The header of Q4_K and Q5_K for all lanes: 8 scales and 8 minima of 6 bits, four to a word.
template <class P>
struct ScalesK {
  typename P::Quads scales[2], mins[2];
  typename P::Floats d, dmin;

  KERNEL_INLINE ScalesK(const std::byte* p, size_t s) {
    typename P::Quads head[4];
    P::columns(p, s, head);
    P::two_halves(head[0], d, dmin);
    scales[0] = P::bits_of(head[1], 0x3f3f3f3fu);
    mins[0] = P::bits_of(head[2], 0x3f3f3f3fu);
    scales[1] = P::either(P::bits_of(head[3], 0x0f0f0f0fu),
                          P::bits_of(P::template shift_right<2>(head[1]), 0x30303030u));
    mins[1] = P::either(P::high_nibbles(head[3]),
                        P::bits_of(P::template shift_right<2>(head[2]), 0x30303030u));
  }
  KERNEL_INLINE void put(size_t j, UnpackedGroup<P>& out) const {
    out.scale[0] = P::multiply(d, P::unsigned_byte(scales[j / 4], j % 4));
    out.min = P::negative(P::multiply(dmin, P::unsigned_byte(mins[j / 4], j % 4)));
  }
};

template <class P>
struct FormatQ4_K : PlainFormat<WeightType::q4_k, 0> {
  static constexpr size_t kBlockBytes = 144, kGroups = 8;
  static constexpr bool kMin = true;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    const ScalesK<P> scales(p, s);
    KERNEL_LOOP
    for (size_t pair = 0; pair < 4; ++pair) {
      typename P::Quads packed[2][4];
      P::columns(p + 16 + 32 * pair, s, packed[0]);
      P::columns(p + 32 + 32 * pair, s, packed[1]);
      UnpackedGroup<P> out;
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) out.w[d] = P::low_nibbles(packed[d / 4][d % 4]);
      scales.put(2 * pair, out);
      sink(2 * pair, out);
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) out.w[d] = P::high_nibbles(packed[d / 4][d % 4]);
      scales.put(2 * pair + 1, out);
      sink(2 * pair + 1, out);
    }
  }
};

template <class P>
struct FormatQ5_K : PlainFormat<WeightType::q5_k, 0> {
  static constexpr size_t kBlockBytes = 176, kGroups = 8;
  static constexpr bool kMin = true;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    const ScalesK<P> scales(p, s);
    typename P::Quads high[2][4];  // bit j of a byte belongs to group j
    P::columns(p + 16, s, high[0]);
    P::columns(p + 32, s, high[1]);
    KERNEL_LOOP
    for (size_t pair = 0; pair < 4; ++pair) {
      typename P::Quads packed[2][4];
      P::columns(p + 48 + 32 * pair, s, packed[0]);
      P::columns(p + 64 + 32 * pair, s, packed[1]);
      UnpackedGroup<P> out;
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) {
        const auto bit = P::template shift_left<4>(P::bits_of(high[d / 4][d % 4], 0x01010101u));
        out.w[d] = P::either(P::low_nibbles(packed[d / 4][d % 4]), bit);
      }
      scales.put(2 * pair, out);
      sink(2 * pair, out);
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) {
        const auto bit = P::template shift_left<3>(P::bits_of(high[d / 4][d % 4], 0x02020202u));
        out.w[d] = P::either(P::high_nibbles(packed[d / 4][d % 4]), bit);
        high[d / 4][d % 4] = P::template shift_right<2>(high[d / 4][d % 4]);
      }
      scales.put(2 * pair + 1, out);
      sink(2 * pair + 1, out);
    }
  }
};

template <class P>
struct FormatQ6_K : PlainFormat<WeightType::q6_k, 5> {
  static constexpr size_t kBlockBytes = 210, kGroups = 8;
  static constexpr bool kHalves = true;
  using Quads = typename P::Quads;

  // Bits 2 · kRun and the next of each byte, as bits 4 and 5.
  template <size_t kRun>
  static KERNEL_INLINE Quads high_bits(Quads pairs) {
    if constexpr (kRun < 2) pairs = P::template shift_left<4 - 2 * kRun>(pairs);
    if constexpr (kRun == 3) pairs = P::template shift_right<2>(pairs);
    return P::bits_of(pairs, 0x30303030u);
  }

  // Group kRun of a half superblock: `scale` has its two in bytes kRun % 2 · 2 and the next.
  template <size_t kRun>
  static KERNEL_INLINE void put(const Quads (&low)[4][4], const Quads (&high)[2][4], Quads scale,
                                typename P::Floats d, UnpackedGroup<P>& out) {
    KERNEL_UNROLL
    for (size_t i = 0; i < 8; ++i) {
      const Quads nibbles = low[kRun % 2 * 2 + i / 4][i % 4];
      out.w[i] = P::either(kRun < 2 ? P::low_nibbles(nibbles) : P::high_nibbles(nibbles),
                           high_bits<kRun>(high[i / 4][i % 4]));
    }
    out.scale[0] = P::multiply(d, P::signed_byte(scale, kRun % 2 * 2));
    out.scale[1] = P::multiply(d, P::signed_byte(scale, kRun % 2 * 2 + 1));
  }

  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    Quads scales[4];
    P::columns(p + 192, s, scales);
    const typename P::Floats d = P::halves_behind(p + 206, s);
    KERNEL_LOOP
    for (size_t half = 0; half < 2; ++half) {
      Quads high[2][4], low[4][4];
      KERNEL_UNROLL
      for (size_t i = 0; i < 2; ++i) P::columns(p + 128 + 32 * half + 16 * i, s, high[i]);
      KERNEL_UNROLL
      for (size_t i = 0; i < 4; ++i) P::columns(p + 64 * half + 16 * i, s, low[i]);
      UnpackedGroup<P> out;
      put<0>(low, high, scales[half * 2], d, out);
      sink(half * 4, out);
      put<1>(low, high, scales[half * 2], d, out);
      sink(half * 4 + 1, out);
      put<2>(low, high, scales[half * 2 + 1], d, out);
      sink(half * 4 + 2, out);
      put<3>(low, high, scales[half * 2 + 1], d, out);
      sink(half * 4 + 3, out);
    }
  }
};

// ---------------------------------------------------------------- panels: nothing to turn over

// Panels are read in ascending order, whatever a compiler would rather do: with each group's scales
// loaded before its quants, the machine's prefetchers gave half of the stream.
KERNEL_INLINE void in_order() {
  asm volatile("" : : : "memory");
}

// kCount vectors of a panel, from lane s on.
template <class P, size_t kCount>
KERNEL_INLINE void load_turned(const std::byte* p, size_t s, typename P::Quads (&out)[kCount]) {
  KERNEL_UNROLL
  for (size_t d = 0; d < kCount; ++d) {
    out[d] = P::load(p + 64 * d + 4 * s);
    in_order();
  }
}

template <class P>
struct FormatQ8 : PlainFormat<WeightType::q8, 7> {
  static constexpr size_t kPrefetchFrom = 4;  // twice the bytes for the same arithmetic
  static constexpr size_t kBlockBytes = 34;
  static constexpr bool kPaneled = true;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    KERNEL_UNROLL
    for (size_t d = 0; d < 8; ++d) {
      out.w[d] = P::from_signed(P::load(p + 64 * d + 4 * s));
      in_order();
    }
    out.scale[0] = P::near_halves(p + 512 + 2 * s);
    sink(size_t{0}, out);
  }
};

// Nibbles, fifth bits, scales and minima, as far as the type has them.
template <class P, WeightType kWeightType, unsigned kTakenOff, bool kFifth, bool kHasMin>
struct NibblePanels : PlainFormat<kWeightType, kTakenOff> {
  static constexpr size_t kBlockBytes = 18 + (kFifth ? 4 : 0) + (kHasMin ? 2 : 0);
  static constexpr bool kPaneled = true, kMin = kHasMin;
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    UnpackedGroup<P> out;
    typename P::Quads packed[4];
    load_turned<P>(p, s, packed);
    put_nibbles<P>(packed, out);
    if constexpr (kFifth) P::add_fifth_bits(P::load(p + 256 + 4 * s), out.w);
    const std::byte* scales = p + 256 + (kFifth ? 64 : 0) + 2 * s;
    out.scale[0] = P::near_halves(scales);
    if constexpr (kMin) out.min = P::near_halves(scales + 32);
    sink(size_t{0}, out);
  }
};
template <class P>
using FormatQ4 = NibblePanels<P, WeightType::q4, 3, false, false>;
template <class P>
using FormatP4_1 = NibblePanels<P, WeightType::p4_1, 0, false, true>;
template <class P>
using FormatP5_0 = NibblePanels<P, WeightType::p5_0, 4, true, false>;
template <class P>
using FormatP5_1 = NibblePanels<P, WeightType::p5_1, 0, true, true>;

// The nibbles of the first or the second group of a pair.
template <class P, bool kSecond>
KERNEL_INLINE void put_half_bytes(const std::byte* p, size_t s, UnpackedGroup<P>& out) {
  KERNEL_UNROLL
  for (size_t d = 0; d < 8; ++d) {
    const typename P::Quads packed = P::load(p + 64 * d + 4 * s);
    in_order();
    out.w[d] = kSecond ? P::high_nibbles(packed) : P::low_nibbles(packed);
  }
}

// P4_K, and with fifth bits P5_K.
template <class P, WeightType kWeightType, bool kFifth>
struct PanelsK : PlainFormat<kWeightType, 0> {
  static constexpr size_t kBlockBytes = kFifth ? 180 : 148, kGroups = 8;
  static constexpr bool kPaneled = true, kMin = true;
  static constexpr size_t kMore = kFifth ? 128 : 0;  // bytes of fifth bits
  using Quads = typename P::Quads;
  using Floats = typename P::Floats;

  // Bit d of each byte becomes bit 4 of w[d].
  static KERNEL_INLINE void add_fifth(Quads bits, Quads (&w)[8]) {
    Quads low = P::template shift_left<4>(bits);
    KERNEL_UNROLL
    for (size_t d = 0; d < 4; ++d) {
      w[d] = P::with_bits(w[d], low, 0x10101010u);
      low = P::template shift_right<1>(low);
      w[4 + d] = P::with_bits(w[4 + d], bits, 0x10101010u);
      bits = P::template shift_right<1>(bits);
    }
  }
  template <bool kSecond>
  static KERNEL_INLINE void put(const std::byte* p, size_t s, Floats d, Floats dmin,
                                UnpackedGroup<P>& out) {
    put_half_bytes<P, kSecond>(p + kMore, s, out);
    if constexpr (kFifth) add_fifth(P::load(p + kSecond * 64 + 4 * s), out.w);
    const std::byte* scales = p + 512 + kMore + kSecond * 32 + s;
    out.scale[0] = P::multiply(d, P::near_bytes(scales));
    out.min = P::multiply(dmin, P::near_bytes(scales + 16));
  }
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    const Floats d = P::near_halves(p + 2 * s), dmin = P::near_halves(p + 32 + 2 * s);
    p += 64;
    KERNEL_LOOP
    for (size_t pair = 0; pair < 4; ++pair, p += 576 + kMore) {
      UnpackedGroup<P> out;
      put<false>(p, s, d, dmin, out);
      sink(2 * pair, out);
      put<true>(p, s, d, dmin, out);
      sink(2 * pair + 1, out);
    }
  }
};
template <class P>
using FormatP4_K = PanelsK<P, WeightType::p4_k, false>;
template <class P>
using FormatP5_K = PanelsK<P, WeightType::p5_k, true>;

template <class P>
struct FormatP6_K : PlainFormat<WeightType::p6_k, 5> {
  static constexpr size_t kBlockBytes = 210, kGroups = 8;
  static constexpr bool kPaneled = true, kHalves = true;
  using Quads = typename P::Quads;

  template <bool kSecond>
  static KERNEL_INLINE void put(const std::byte* p, size_t s, typename P::Floats d,
                                UnpackedGroup<P>& out) {
    KERNEL_UNROLL
    for (size_t i = 0; i < 4; ++i) {
      const std::byte* at = p + 192 * i + 4 * s;
      const Quads bits = P::load(at), a = P::load(at + 64), b = P::load(at + 128);
      in_order();
      const Quads high = kSecond ? P::template shift_right<2>(bits) : bits;
      const Quads low = kSecond ? P::template shift_left<2>(bits) : P::template shift_left<4>(bits);
      const Quads four = kSecond ? P::high_nibbles(a) : P::low_nibbles(a);
      const Quads more = kSecond ? P::high_nibbles(b) : P::low_nibbles(b);
      out.w[i] = P::with_bits(four, low, 0x30303030u);
      out.w[4 + i] = P::with_bits(more, high, 0x30303030u);
    }
    const std::byte* scales = p + 768 + kSecond * 32 + s;
    out.scale[0] = P::multiply(d, P::near_signed_bytes(scales));
    out.scale[1] = P::multiply(d, P::near_signed_bytes(scales + 16));
  }
  template <class Sink>
  static KERNEL_INLINE void unpack(const std::byte* p, size_t s, const Sink& sink) {
    const typename P::Floats d = P::near_halves(p + 2 * s);
    p += 32;
    KERNEL_LOOP
    for (size_t pair = 0; pair < 4; ++pair, p += 832) {
      UnpackedGroup<P> out;
      put<false>(p, s, d, out);
      sink(2 * pair, out);
      put<true>(p, s, d, out);
      sink(2 * pair + 1, out);
    }
  }
};

}  // namespace
}  // namespace splitd::kernels

// Owns: the integer products by the dotprod extension: sdot adds four products in each lane, and
// takes four activations out of a register of 16. In an unnamed namespace, as all that a unit
// includes.
#pragma once

#include "kernels/quantised_neon_lanes.h"

namespace splitd::kernels {
namespace {

struct NeonDot : QuantisedNeon {
  template <size_t kQuad>
  static KERNEL_INLINE Ints add_quad(Ints sum, Quads w, const int8x16_t (&a)[2]) {
    return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w), a[kQuad / 4], kQuad % 4);
  }
  // Calls work(d) with d a constant.
  template <size_t kFrom, size_t kTo, class Work>
  static KERNEL_INLINE void for_quads(const Work& work) {
    if constexpr (kFrom < kTo) {
      work.template operator()<kFrom>();
      for_quads<kFrom + 1, kTo>(work);
    }
  }

  template <unsigned kShift, size_t kFrom, size_t kTo, bool kChains>
  static KERNEL_INLINE Ints dot(const Quads (&w)[8], const int8_t* quants, int32_t minus_sum) {
    const int8x16_t a[2] = {vld1q_s8(quants), vld1q_s8(quants + 16)};
    Ints sum = begin<kShift>(minus_sum);
    for_quads<kFrom, kTo>([&]<size_t d>()
                              KERNEL_INLINE_LAMBDA { sum = add_quad<d>(sum, w[d], a); });
    return sum;
  }

  template <unsigned kShift, size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_tile(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Ints (&sums)[R][C]) {
    int8x16_t a[R][2];
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      a[i][0] = vld1q_s8(act[i].quants);
      a[i][1] = vld1q_s8(act[i].quants + 16);
      const Ints start = begin_of<kShift, kFrom, kTo>(act[i]);
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) sums[i][j] = start;
    }
    for_quads<kFrom, kTo>([&]<size_t d>() KERNEL_INLINE_LAMBDA {
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) {
        const Quads weights = load(w + j * w_bytes + d * 16);
        KERNEL_UNROLL
        for (size_t i = 0; i < R; ++i) sums[i][j] = add_quad<d>(sums[i][j], weights, a[i]);
      }
    });
  }
};

}  // namespace
}  // namespace splitd::kernels

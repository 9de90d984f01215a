// Owns: products of quantised weights by the i8mm extension: smmla multiplies two rows of weights
// by two of activations, 8 values each, which is twice the products of sdot in one instruction.
//
// Counted in vector instructions for a group of 4 weight rows: sdot 8 a row; smmla 8 for two rows,
// 2 that put their sums in order, and, where weights do not come from the scratch, 8 that turn
// weights into pairs. So few rows gain from 4 on: fewer are left to sdot.
#include "kernels/kernels.h"
#include "kernels/quantised_neon_dot_lanes.h"

namespace splitd::kernels {
namespace {

struct NeonI8mm : NeonDot {
  static constexpr bool kPairs = true;
  static constexpr size_t kPairsFrom = 4;
  static constexpr size_t kFewRows = 8, kPassRows = kFewRows;

  // out[2·e] has values 8·e … 8·e + 7 of the rows 0 and 1, out[2·e + 1] of 2 and 3.
  static KERNEL_INLINE void pair_up(const Quads (&w)[8], Quads (&out)[8]) {
    KERNEL_UNROLL
    for (size_t e = 0; e < 8; e += 2) {
      const uint32x4_t a = vreinterpretq_u32_u8(w[e]), b = vreinterpretq_u32_u8(w[e + 1]);
      out[e] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
      out[e + 1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
    }
  }

  // One row and the same again, or two: values 8·e … 8·e + 7.
  template <bool kTwo>
  static KERNEL_INLINE int8x16_t eight(const ActGroup* act, size_t e) {
    if constexpr (kTwo) return vld1q_s8(act[e / 2].quants + e % 2 * 16);
    const int8x8_t one = vld1_s8(act->quants + 8 * e);
    return vcombine_s8(one, one);
  }
  template <unsigned kShift, bool kTwo, size_t kFrom, size_t kTo>
  static KERNEL_INLINE Ints begin_of_two(const ActGroup* act) {
    const Ints first = begin_of<kShift, kFrom, kTo>(act[0]);
    if constexpr (!kTwo || kShift == 0 || kShift == 7) return first;
    const Ints second = begin_of<kShift, kFrom, kTo>(act[1]);
    return vcombine_s32(vget_low_s32(first), vget_low_s32(second));
  }

  template <unsigned kShift, bool kTwo, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_two(const ActGroup* act, const Quads (&pairs)[8], Ints* sums) {
    Ints low = begin_of_two<kShift, kTwo, kFrom, kTo>(act), high = low;
    KERNEL_UNROLL
    for (size_t e = kFrom / 2; e < kTo / 2; ++e) {
      const int8x16_t a = eight<kTwo>(act, e);
      low = vmmlaq_s32(low, a, vreinterpretq_s8_u8(pairs[2 * e]));
      high = vmmlaq_s32(high, a, vreinterpretq_s8_u8(pairs[2 * e + 1]));
    }
    const int64x2_t low_rows = vreinterpretq_s64_s32(low);
    const int64x2_t high_rows = vreinterpretq_s64_s32(high);
    sums[0] = vreinterpretq_s32_s64(vtrn1q_s64(low_rows, high_rows));
    if constexpr (kTwo) sums[1] = vreinterpretq_s32_s64(vtrn2q_s64(low_rows, high_rows));
  }

  template <unsigned kShift, size_t R, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_rows(const ActGroup* act, const Quads (&pairs)[8],
                                     Ints (&sums)[R]) {
    KERNEL_UNROLL
    for (size_t i = 0; i + 1 < R; i += 2) {
      dot_two<kShift, true, kFrom, kTo>(act + i, pairs, sums + i);
    }
    if constexpr (R % 2 != 0) {
      dot_two<kShift, false, kFrom, kTo>(act + R - 1, pairs, sums + R - 1);
    }
  }

  template <unsigned kShift, size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_tile(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Ints (&sums)[R][C]) {
    KERNEL_UNROLL
    for (size_t j = 0; j < C; ++j) {
      Quads pairs[8];
      KERNEL_UNROLL
      for (size_t d = kFrom; d < kTo; ++d) pairs[d] = load(w + j * w_bytes + d * 16);
      Ints column[R];
      dot_rows<kShift, R, kFrom, kTo>(act, pairs, column);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) sums[i][j] = column[i];
    }
  }
};

}  // namespace

void add_matmul_quantised_neon_i8mm(MatmulKernels& table) {
  add_all_quantised<NeonI8mm>(table);
}

}  // namespace splitd::kernels

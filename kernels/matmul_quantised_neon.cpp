// Owns: products of quantised weights on plain NEON, armv8-a: bytes are multiplied to 16 bits and
// added pairwise to 32; two rows of a vector in each of two sums.
#include "kernels/kernels.h"
#include "kernels/quantised_neon_lanes.h"

namespace splitd::kernels {
namespace {

struct NeonPlain : QuantisedNeon {
  static KERNEL_INLINE int8x16_t four(const int8_t* quants) {
    int32_t bits;
    std::memcpy(&bits, quants, sizeof bits);
    return vreinterpretq_s8_s32(vdupq_n_s32(bits));
  }
  static KERNEL_INLINE void add(Quads w, int8x16_t a, Ints& low, Ints& high) {
    const int8x16_t s = vreinterpretq_s8_u8(w);
    low = vpadalq_s16(low, vmull_s8(vget_low_s8(s), vget_low_s8(a)));
    high = vpadalq_s16(high, vmull_high_s8(s, a));
  }

  template <unsigned kShift, size_t kFrom, size_t kTo, bool kChains>
  static KERNEL_INLINE Ints dot(const Quads (&w)[8], const int8_t* quants, int32_t minus_sum) {
    Ints low = vdupq_n_s32(0), high = vdupq_n_s32(0);
    KERNEL_UNROLL
    for (size_t d = kFrom; d < kTo; ++d) add(w[d], four(quants + 4 * d), low, high);
    return vaddq_s32(vpaddq_s32(low, high), begin<kShift>(minus_sum));
  }

  template <unsigned kShift, size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void dot_tile(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Ints (&sums)[R][C]) {
    KERNEL_UNROLL
    for (size_t j = 0; j < C; ++j) {
      Quads weights[8];
      KERNEL_UNROLL
      for (size_t d = kFrom; d < kTo; ++d) weights[d] = load(w + j * w_bytes + d * 16);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        sums[i][j] = dot<0, kFrom, kTo, false>(weights, act[i].quants, 0);
        sums[i][j] = vaddq_s32(sums[i][j], begin_of<kShift, kFrom, kTo>(act[i]));
      }
    }
  }
};

}  // namespace

void add_matmul_quantised_neon(MatmulKernels& table) {
  add_all_quantised<NeonPlain>(table);
}

}  // namespace splitd::kernels

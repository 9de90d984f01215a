// Owns: the 4-lane accumulator that the NEON products share, added up as (0+2)+(1+3).
#pragma once

#include <arm_neon.h>

#include <cstddef>

namespace splitd::kernels {
namespace {

struct Lanes128 {
  using Vec = float32x4_t;
  static constexpr size_t kVecBytes = 16;
  static constexpr size_t kRows = 6, kCols = 4;  // 24 accumulators of 32 registers
  static constexpr size_t kWideRows = 2, kWideCols = 8;
  static constexpr size_t kHighPanelRows = 0, kHighPanel = kRows, kHighPanelCols = kCols;  // none
  static constexpr size_t kOneColFrom = 1, kOneColTo = 0;                                  // never
  static constexpr size_t kFewRows = 32;
  static constexpr size_t kLinearBytes = 0;  // one accumulator's latency would set the pace
  static constexpr size_t kBlockVectors = 144, kBlockPanels = 8, kBlockCols = 32;

  static Vec zero() { return vdupq_n_f32(0); }
  static Vec load(const std::byte* from) { return vld1q_f32(reinterpret_cast<const float*>(from)); }
  static void keep(Vec value, std::byte* to) { vst1q_f32(reinterpret_cast<float*>(to), value); }

  static void reduce(Vec a, Vec b, Vec c, Vec d, float* out) {
    const Vec ab = vaddq_f32(vzip1q_f32(a, b), vzip2q_f32(a, b));
    const Vec cd = vaddq_f32(vzip1q_f32(c, d), vzip2q_f32(c, d));
    vst1q_f32(out, vaddq_f32(vcombine_f32(vget_low_f32(ab), vget_low_f32(cd)),
                             vcombine_f32(vget_high_f32(ab), vget_high_f32(cd))));
  }
};

}  // namespace
}  // namespace splitd::kernels

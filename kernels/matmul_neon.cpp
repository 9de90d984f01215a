// Owns: products with activations left in fp32, on Advanced SIMD. Every output has one accumulator
// of 4 lanes and fused multiply-adds: lane l takes k ≡ l (mod 4), ascending, 16-bit weights each
// converted exactly; the lanes are added up as (0+2)+(1+3).
#include "kernels/kernels.h"
#include "kernels/matmul_neon_lanes.h"
#include "kernels/matmul_tiles.h"

namespace splitd::kernels {
namespace {

struct Exact : Lanes128 {
  using Act = float32x4_t;
  using Weight = float32x4_t;
  static constexpr const char* kOrder = "4 lanes, k mod 4, fma";

  static Act act(const std::byte* from) { return load(from); }
  static void keep_weight(Weight weight, std::byte* to) { keep(weight, to); }
  static Weight kept_weight(const std::byte* from) { return load(from); }
  static Vec mul_add(Act a, Weight w, Vec sum) { return vfmaq_f32(sum, a, w); }

 protected:
  static void copy_step(const float* a, std::byte* to, size_t stride, size_t vectors) {
    for (size_t sub = 0; sub < vectors; ++sub) keep(vld1q_f32(a + 4 * sub), to + sub * stride);
  }
};

struct ExactF32 : Exact {
  static constexpr size_t kStep = 16, kSub = 4, kWeightBytes = 4;

  static Weight weight(const std::byte* from, size_t sub) { return load(from + 16 * sub); }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    copy_step(a, to, stride, kSub);
  }
};

struct ExactF16 : Exact {
  static constexpr size_t kStep = 32, kSub = 8, kWeightBytes = 2;

  static Weight weight(const std::byte* from, size_t sub) {
    const auto* four = reinterpret_cast<const uint16_t*>(from) + 4 * sub;
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(four)));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    copy_step(a, to, stride, kSub);
  }
};

struct ExactBf16 : Exact {
  static constexpr size_t kStep = 32, kSub = 8, kWeightBytes = 2;

  static Weight weight(const std::byte* from, size_t sub) {
    const auto* four = reinterpret_cast<const uint16_t*>(from) + 4 * sub;
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(four), 16));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    copy_step(a, to, stride, kSub);
  }
};

}  // namespace

void add_matmul_neon(MatmulKernels& table) {
  table.exact = {Matmul<ExactF32>::kernel(), Matmul<ExactBf16>::kernel(),
                 Matmul<ExactF16>::kernel()};
  table.native = table.exact;
}

}  // namespace splitd::kernels

// Owns: products of bf16 weights with activations rounded to bf16 (to nearest even), by bfdot.
// Every output has one accumulator of 4 lanes: of every 8, lane l takes the pair k = 2l, 2l + 1.
// The instruction itself fixes the order and the roundings inside a pair, and takes denormal inputs
// and results for zero.
#include "kernels/kernels.h"
#include "kernels/matmul_neon_lanes.h"
#include "kernels/matmul_tiles.h"

namespace splitd::kernels {
namespace {

struct NativeBf16 : Lanes128 {
  using Act = bfloat16x8_t;
  using Weight = bfloat16x8_t;
  static constexpr size_t kStep = 32, kSub = 4, kWeightBytes = 2;
  static constexpr const char* kOrder = "4 lanes, k/2 mod 4, bfdot";

  static const bfloat16_t* as_bf16(const std::byte* p) {
    return reinterpret_cast<const bfloat16_t*>(p);
  }
  static Act act(const std::byte* from) { return vld1q_bf16(as_bf16(from)); }
  static Weight weight(const std::byte* from, size_t sub) { return act(from + 16 * sub); }
  static void keep_weight(Weight weight, std::byte* to) {
    vst1q_bf16(reinterpret_cast<bfloat16_t*>(to), weight);
  }
  static Weight kept_weight(const std::byte* from) { return act(from); }
  static Vec mul_add(Act a, Weight w, Vec sum) { return vbfdotq_f32(sum, a, w); }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    for (size_t sub = 0; sub < kSub; ++sub, a += 8, to += stride) {
      keep_weight(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(vld1q_f32(a)), vld1q_f32(a + 4)), to);
    }
  }
};

}  // namespace

void add_matmul_neon_bf16(MatmulKernels& table) {
  table.native.bf16 = Matmul<NativeBf16>::kernel();
}

}  // namespace splitd::kernels

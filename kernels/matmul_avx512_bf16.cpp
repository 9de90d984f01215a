// Owns: products of bf16 weights with activations rounded to bf16 (to nearest even), by vdpbf16ps.
// Every output has one accumulator of 16 lanes: of every 32, lane l takes the pair k = 2l, 2l + 1.
// The instruction itself fixes the order and the roundings inside a pair, and takes denormal inputs
// and results for zero.
#include "kernels/kernels.h"
#include "kernels/matmul_avx512_lanes.h"
#include "kernels/matmul_tiles.h"

namespace splitd::kernels {
namespace {

struct NativeBf16 : Lanes512 {
  using Act = __m512bh;
  using Weight = __m512bh;
  static constexpr size_t kStep = 32, kSub = 1, kWeightBytes = 2;
  static constexpr const char* kOrder = "16 lanes, k/2 mod 16, vdpbf16ps";

  static Act act(const std::byte* from) { return (__m512bh)_mm512_load_si512(from); }
  static Weight weight(const std::byte* from, size_t) { return (__m512bh)_mm512_loadu_si512(from); }
  static void keep_weight(Weight weight, std::byte* to) { _mm512_store_si512(to, (__m512i)weight); }
  static Weight kept_weight(const std::byte* from) { return act(from); }
  static Vec mul_add(Act a, Weight w, Vec sum) { return _mm512_dpbf16_ps(sum, a, w); }
  static void prepare_step(const float* a, std::byte* to, size_t) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(a + 16), _mm512_loadu_ps(a));
    _mm512_store_si512(to, (__m512i)rounded);
  }
};

}  // namespace

void add_matmul_avx512_bf16(MatmulKernels& table) {
  table.native.bf16 = Matmul<NativeBf16>::kernel();
}

}  // namespace splitd::kernels

// Owns: products with activations left in fp32, on AVX-512 F, BW, VL and DQ. Every output has one
// accumulator of 16 lanes and fused multiply-adds:
//   f32 weights   lane l takes k ≡ l (mod 16), ascending
//   f16 weights   the same, each converted exactly
//   bf16 weights  of every 32, lane l takes k = 2l, then k = 2l + 1: taking the halves of a pair
//                 apart costs one cheap instruction, where widening in order would cost a shuffle
#include "kernels/kernels.h"
#include "kernels/matmul_avx512_lanes.h"
#include "kernels/matmul_tiles.h"

namespace splitd::kernels {
namespace {

struct Exact : Lanes512 {
  using Act = __m512;
  using Weight = __m512;

  static Act act(const std::byte* from) { return _mm512_load_ps(from); }
  static void keep_weight(Weight weight, std::byte* to) { _mm512_store_ps(to, weight); }
  static Weight kept_weight(const std::byte* from) { return _mm512_load_ps(from); }
  static Vec mul_add(Act a, Weight w, Vec sum) { return _mm512_fmadd_ps(a, w, sum); }
};

struct ExactF32 : Exact {
  static constexpr size_t kStep = 16, kSub = 1, kWeightBytes = 4;
  static constexpr const char* kOrder = "16 lanes, k mod 16, fma";

  static Weight weight(const std::byte* from, size_t) { return _mm512_loadu_ps(from); }
  static void prepare_step(const float* a, std::byte* to, size_t) {
    _mm512_store_ps(to, _mm512_loadu_ps(a));
  }
};

struct ExactF16 : Exact {
  static constexpr size_t kStep = 32, kSub = 2, kWeightBytes = 2;
  static constexpr const char* kOrder = "16 lanes, k mod 16, fma";

  static Weight weight(const std::byte* from, size_t sub) {
    const auto* half = reinterpret_cast<const __m256i*>(from) + sub;
    return _mm512_cvtph_ps(_mm256_loadu_si256(half));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    _mm512_store_ps(to, _mm512_loadu_ps(a));
    _mm512_store_ps(to + stride, _mm512_loadu_ps(a + 16));
  }
};

struct ExactBf16 : Exact {
  static constexpr size_t kStep = 32, kSub = 2, kWeightBytes = 2;
  static constexpr const char* kOrder = "16 lanes, k/2 mod 16, even k before odd, fma";

  static Weight weight(const std::byte* from, size_t sub) {
    const __m512i pairs = _mm512_loadu_si512(from);
    return _mm512_castsi512_ps(sub == 0 ? _mm512_slli_epi32(pairs, 16)
                                        : _mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
  }
  static void prepare_step(const float* a, std::byte* to, size_t stride) {
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512 low = _mm512_loadu_ps(a), high = _mm512_loadu_ps(a + 16);
    _mm512_store_ps(to, _mm512_permutex2var_ps(low, even, high));
    _mm512_store_ps(to + stride, _mm512_permutex2var_ps(low, odd, high));
  }
};

}  // namespace

void add_matmul_avx512(MatmulKernels& table) {
  table.exact = {Matmul<ExactF32>::kernel(), Matmul<ExactBf16>::kernel(),
                 Matmul<ExactF16>::kernel()};
  table.native = table.exact;
}

}  // namespace splitd::kernels

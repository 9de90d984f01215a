// Owns: the contract of the kernels that work on one row at a time: norms, rope, activations,
// softcaps, embedding rows, top-k, the wire's conversions. For every instruction set.
// Thread-safe: a call touches only what its arguments point to. Never fails, allocates or throws.
//
// A row's result depends on that row alone, bit for bit. The vector units all compute in 16 lanes
// with the same operations in the same order, so AVX2, AVX-512 and NEON agree bit for bit too; the
// reference differs from them by rounding. Weights are F32, BF16 or F16 here. Where `out` may be an
// input it is the same pointer or apart, never shifted. NaN in gives NaN out, unless an operation
// says that it looks for it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/matmul.h"

namespace splitd::kernels {

enum class Gate : uint8_t { silu, gelu_tanh, gelu_erf };

// Payloads of DESIGN §6. A row's data is row-major, little-endian; f16, q8 and q4 come with one
// exponent e a row, and the data is h·2^−e. q8: groups of a f16 scale and 32 int8; q4: groups of a
// f16 scale and 16 bytes, byte i with element i (low bits) and element 16 + i, each 0 … 15 for
// −8 … 7. The last group is padded with zeros.
enum class WireType : uint8_t { f32, bf16, f16, q8, q4 };

// Where something is wrong in n rows; row == n: nowhere.
struct RowFault {
  size_t row;
  size_t column;  // of a decoded exponent: the row's length
};

struct RmsNormArgs {
  const float* x;
  const void* w;  // n weights of w_type, any alignment their elements allow
  float* out;     // may be x
  size_t n;
  float eps;
  WeightType w_type;
  bool plus_one;  // multiply by 1 + w, rounded to f32
};

struct RowKernels {
  // (x · r) · w with r = 1/√(mean x² + eps). Order: f64 squares, element i to lane i mod 32; lane l
  // + lane l+16; then lanes l + l+8, +4, +2, +1. r is rounded to f32 once, so a result is within 2
  // ulp of the exact one (2.6 with plus_one), from denormals to 3e38.
  void (*rms_norm)(const RmsNormArgs& args);

  // Rotates the pairs (i, i + n_rotary/2) of each head in place; the rest of the head stays.
  void (*rope)(float* heads, size_t n_head, size_t d_head, size_t n_rotary, const float* cos,
               const float* sin);

  // out = act(gate) · up. out may be gate or up. Error of act(x): ≤ 4 ulp of its value; gelu of
  // x < 0: + 2^−23·|x|, for both its forms cancel there, as PyTorch's do.
  void (*gate)(Gate kind, const float* gate, const float* up, float* out, size_t n);

  // x = cap · tanh(x / cap), within 4 ulp.
  void (*softcap)(float* x, size_t n, float cap);

  void (*add)(float* out, const float* x, size_t n);                  // out += x
  void (*scale)(float* x, size_t n, float factor);                    // x *= factor
  void (*add_scaled)(float* out, const float* x, size_t n, float w);  // out = fma(w, x, out)

  // x = exp(x − max) / Σ, in place; Σ in f64, element i to lane i mod 16, the tree of rms_norm.
  void (*softmax)(float* x, size_t n);

  // out = row `id` of the table (n_vocab, n), times factor. Precondition: the id is in the table.
  void (*embed)(const void* table, WeightType type, uint32_t id, size_t n, float factor,
                float* out);

  // The k best of n values in the order (value descending, index ascending), −0 equal to +0.
  // Writes min(k, n) of both. Returns n, or the index of the first NaN: then nothing is ordered.
  size_t (*top_k)(const float* x, size_t n, size_t k, float* values, uint32_t* ids);

  // The index of the first NaN or infinity, or n.
  size_t (*first_non_finite)(const float* x, size_t n);

  // n_row rows of n floats to wire_data_bytes(type, n) bytes each. `exponents` is one byte a row,
  // untouched for f32 and bf16. Rounds to nearest even; q8: scale = f16(max|x|/127), x / scale
  // rounded and clamped to ±127; q4: scale = f16(e/−8), e the first element of largest magnitude,
  // x / scale rounded and clamped to −8 … 7. The same bytes on every instruction set. Refuses
  // NaN, infinity, and what would be infinite in bf16; then what it wrote means nothing.
  RowFault (*wire_encode)(WireType type, const float* rows, size_t row_stride, size_t n_row,
                          size_t n, uint8_t* data, int8_t* exponents);

  // The way back: exact in f32. Refuses what is not finite, and exponents outside 0 … 113.
  RowFault (*wire_decode)(WireType type, const uint8_t* data, const int8_t* exponents, size_t n_row,
                          size_t n, float* rows, size_t row_stride);
};

// What follows is plain code, the same on every instruction set.

// Bytes of one row's data, without its exponent.
[[nodiscard]] size_t wire_data_bytes(WireType type, size_t n);
[[nodiscard]] bool wire_has_exponents(WireType type);

enum class RopeScaling : uint8_t { plain, linear, llama3, longrope };

struct RopeShape {
  RopeScaling scaling;
  double theta;
  size_t n_rotary;             // even
  double factor;               // linear, llama3
  double low_freq_factor;      // llama3
  double high_freq_factor;     // llama3
  double original_ctx;         // llama3
  const float* freq_divisors;  // longrope: n_rotary / 2, the short or the long set
};

// Writes n_rotary / 2 frequencies as transformers does, in fp32 at each step. The power is rounded
// correctly, which PyTorch's differs from by at most an ulp.
void rope_frequencies(const RopeShape& shape, float* inv_freq);

// cos and sin of the fp32 product inv_freq · position, times attention_factor. Within 0.51 ulp
// before that factor for angles up to 2^20 (range reduction in f64); larger ones lose accuracy.
void rope_table(const float* inv_freq, size_t n, uint32_t position, float attention_factor,
                float* cos, float* sin);

}  // namespace splitd::kernels

// Owns: what quantised weights are in memory, and what a product of them means, for every
// instruction set. Plain code, the same everywhere; thread-safe; never fails, allocates or throws.
//
// A group is 32 values along K. GGUF types: rows of blocks as the file has them, any alignment that
// is even. splitd's own q8 and q4, and p…, what lay_out_panels makes of GGUF's: panels of 16 rows.
// So one vector holds the same four values of 16 rows, its lanes are outputs, nothing has to be
// added across lanes, and a panel is one linear read. Byte 64·d + 4·r + b of quants, "nibbles" and
// "pairs" below belongs to value 4·d + b of row r. Inside a panel, group by group:
//   q8    512 quants, int8; 16 f16 scales
//   q4    256 nibbles: the low one is value 4·d + b, the high one value 16 + 4·d + b, both less 8;
//         16 f16 scales
//   p4_1  256 nibbles, less nothing; 16 f16 scales; 16 f16 minima
//   p5_0  256 nibbles; of each row 4 bytes of fifth bits, as Q5_0 has them; 16 f16 scales
//   p5_1  the same; 16 f16 minima
// and superblock by superblock (what a row needs again for every group, first of all):
//   p4_k  16 f16 d; 16 f16 −dmin; four times: 512 nibbles, the low ones of one group, the high ones
//         of the next; and of each of the two 16 bytes sc and 16 bytes mn
//   p5_k  the same, with 128 bytes before the nibbles, 64 for each of the two groups: bit d of byte
//         4·r + b is the fifth bit of value 4·d + b
//   p6_k  16 f16 d; four times: for d = 0 … 3 64 pairs, nibbles d as above, and nibbles 4 + d; a
//         byte of pairs has the two high bits of value 4·d + b of one group, of the next, then of
//         value 16 + 4·d + b of the one, and of the next; then 64 int8 sc: of the first half of the
//         one group, the second, and of the next
// Bytes are used in the order in which they lie: memory prefetchers lose what jumps back.
// A value is scale · quant, plus the minimum. Panels may hold more rows than the matrix: zeros
// behind the last. q8 and q4 from files need N a multiple of 16; all need K a multiple of
// block_values(type).
//
// The product, for one row of activations and one row of weights (`MatmulKernels::quantised`):
//   activations  in groups of 32: a = largest magnitude; scale s = a / 127, quants x · (127 / a)
//                rounded to nearest even, each of these operations rounded to f32. A group with
//                a < 2^-100 is all zeros; one that holds a NaN or an infinity has s = NaN.
//   a group      S = Σ weight quant · activation quant, exact in int32
//   the sum      one fp32 accumulator from +0, ascending groups:
//                acc = fma(float(S), w · s, acc), where w is the group's scale of weights, and
//                then, for types with a minimum m, acc = fma(m, s · float(Σ activation quants),
//                acc)
//   Q6_K         halves of a group have their own scales: the first half's fma, then the second's
// Scales: Q4_K and Q5_K have w = d · sc and m = −(dmin · mn), Q6_K w = d · sc, all exact in f32.
// Every instruction set computes exactly this, so all of them give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/matmul.h"

namespace splitd::kernels {

inline constexpr size_t kGroup = 32;
inline constexpr size_t kPanelRows = 16;

[[nodiscard]] constexpr bool is_quantised(WeightType type) {
  return type > WeightType::f16;
}
// Rows lie in panels of kPanelRows.
[[nodiscard]] constexpr bool is_paneled(WeightType type) {
  return type >= WeightType::q8;
}
// A value is scale · quant plus a minimum of its group.
[[nodiscard]] constexpr bool quantised_has_min(WeightType type) {
  return type == WeightType::q4_1 || type == WeightType::q5_1 || type == WeightType::q4_k ||
         type == WeightType::q5_k || type == WeightType::p4_1 || type == WeightType::p5_1 ||
         type == WeightType::p4_k || type == WeightType::p5_k;
}

[[nodiscard]] const char* type_name(WeightType type);  // "BF16", "Q4_K", as files spell it
[[nodiscard]] size_t block_values(WeightType type);    // along K; 1 for floats
[[nodiscard]] size_t block_bytes(WeightType type);
// Of one row of k values; in a panel, a row's share.
[[nodiscard]] inline size_t row_bytes(WeightType type, size_t k) {
  return k / block_values(type) * block_bytes(type);
}

// What rows of this type become in panels, which is what they are multiplied fastest as, to the
// same bits; the type itself where it has no such form.
[[nodiscard]] WeightType panel_type(WeightType type);
// Of a matrix of n rows of this type in panels, whole ones; of one that has none, as it is.
[[nodiscard]] size_t panel_bytes(WeightType type, size_t n, size_t k);
// Panels [panel_begin, panel_end) of the matrix `w` of n rows of `type`, a type of rows, to
// `panels`, where the matrix's first panel begins.
void lay_out_panels(WeightType type, const void* w, size_t n, size_t k, size_t panel_begin,
                    size_t panel_end, void* panels);

// Row `row` of the matrix `w` of quantised rows of k values, as floats: each product and sum
// rounded apart, which is what the gguf package computes.
void dequantise_row(WeightType type, const void* w, size_t k, size_t row, float* out);

// Own types, for writing them: group `group` of row `row` of the matrix at `w`.
// levels: kGroup numbers, −127 … 127 (q8) or −8 … 7 (q4). scale: the bits of an f16.
void put_group(WeightType type, void* w, size_t k, size_t row, size_t group, uint16_t scale,
               const int8_t* levels);

// One group as numbers: quants of at most 8 bits, with the scales of its halves (the same but for
// Q6_K) and its minimum. The definition that references are made of.
struct QuantisedGroup {
  int8_t quants[kGroup];
  float scale[2];
  float min;
};
void unpack_group(WeightType type, const void* w, size_t k, size_t row, size_t group,
                  QuantisedGroup& out);

}  // namespace splitd::kernels

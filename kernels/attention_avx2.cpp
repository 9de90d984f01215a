// Owns: attention compiled for one instruction set; the code is attention_body.inc's.
#include <immintrin.h>

#include "kernels/kernels.h"

namespace splitd::kernels {
namespace {

#include "kernels/rows_vector_avx2.inc"
// After the vectors.
#include "kernels/rows_math.inc"
// After the functions.
#include "kernels/attention_cache.inc"

// 16 registers of 8 lanes.
constexpr size_t kScoreStrips[] = {4, 2, 1, 1, 1, 1};
constexpr size_t kValueChunks[] = {4, 2, 1, 1, 1, 1};

#include "kernels/attention_products.inc"
// After the products.
#include "kernels/attention_body.inc"

}  // namespace

void add_attention_avx2(AttentionKernels& table) {
  table.write_k = write_k;
  table.write_v = write_v;
  table.copy_k = copy_k;
  table.copy_v = copy_v;
  table.scratch_bytes = scratch_bytes;
  table.tile_rows = tile_rows;
  table.run = run;
  table.partial_bytes = partial_bytes;
  table.run_split = run_split;
  table.merge = merge;
}

}  // namespace splitd::kernels

// Pieces of work behind cpu_matmul.h.
#include "runtime/engine/cpu_matmul.h"

#include <algorithm>

namespace splitd {

// Below this many rows, preparing them takes less than waking another thread.
static constexpr size_t kFewRows = 8;
static constexpr size_t kPrepareRows = 16;

void CpuMatmul::run(const CpuRows& rows, std::span<const CpuProduct> products) {
  for (const kernels::WeightType type :
       {kernels::WeightType::f32, kernels::WeightType::bf16, kernels::WeightType::f16}) {
    const bool any = std::any_of(products.begin(), products.end(),
                                 [&](const CpuProduct& p) { return p.w->type == type; });
    if (any) run_of_type(rows, products, type);
  }
}

void CpuMatmul::run_of_type(const CpuRows& rows, std::span<const CpuProduct> products,
                            kernels::WeightType type) {
  const kernels::MatmulKernel& kernel = set_.of(type);
  const size_t m = rows.m;
  const size_t k = products[0].w->k;
  std::byte* prepared = prepared_.bytes(kernel.prepared_bytes(m, k));
  const auto prepare = [&](size_t begin, size_t end) {
    kernel.prepare(rows.a, rows.a_stride, rows.rows, m, k, begin, end, prepared);
  };
  if (m < kFewRows) {
    prepare(0, m);
  } else {
    const auto n_piece = static_cast<uint32_t>((m + kPrepareRows - 1) / kPrepareRows);
    pool_.run(n_piece, [&](uint32_t piece, uint32_t) {
      const size_t begin = piece * kPrepareRows;
      prepare(begin, std::min(m, begin + kPrepareRows));
    });
  }

  const size_t claim = kernel.claim_rows(m, k);
  // Never nothing: the kernels step through it even where they do not use it.
  const size_t scratch_bytes = kernel.scratch_bytes(m, k) + AlignedBuffer::kAlign;
  const auto pieces_of = [&](const CpuProduct& product) {
    return product.w->type == type ? (product.w->n + claim - 1) / claim : 0;
  };
  size_t n_piece = 0;
  for (const CpuProduct& product : products) n_piece += pieces_of(product);
  for (AlignedBuffer& scratch : scratch_) scratch.bytes(scratch_bytes);
  pool_.run(static_cast<uint32_t>(n_piece), [&](uint32_t piece, uint32_t thread) {
    size_t left = piece;
    const CpuProduct* product = products.data();
    while (left >= pieces_of(*product)) left -= pieces_of(*product++);
    const size_t begin = left * claim;
    kernel.run({.prepared = prepared,
                .w = product->w->data,
                .c = product->c,
                .scratch = scratch_[thread].bytes(scratch_bytes),
                .c_stride = product->c_stride,
                .m = m,
                .k = k,
                .n_begin = begin,
                .n_end = std::min(product->w->n, begin + claim)});
  });
}

}  // namespace splitd

// Pieces of work behind cpu_matmul.h.
#include "runtime/engine/cpu_matmul.h"

#include <algorithm>

#include "kernels/quantised.h"

namespace splitd {

// Below this many rows, preparing them takes less than waking another thread.
static constexpr size_t kFewRows = 8;
static constexpr size_t kPrepareRows = 16;

const kernels::MatmulKernel& CpuMatmul::kernel_for(kernels::WeightType type) const {
  if (!kernels::is_quantised(type)) return (exact_ ? kernels_.exact : kernels_.native).of(type);
  return exact_ ? kernels_.exact.f32 : kernels_.quantised.of(type);
}

// Two kernels take the same form if they have the same `prepare`.
void CpuMatmul::run(const CpuRows& rows, std::span<const CpuProduct> products) {
  if (observe_) observe_(rows, products);
  for (size_t i = 0; i < products.size(); ++i) {
    const kernels::MatmulKernel& form = kernel_for(products[i].w->type);
    const bool done =
        std::any_of(products.begin(), products.begin() + i, [&](const CpuProduct& product) {
          return kernel_for(product.w->type).prepare == form.prepare;
        });
    if (!done) run_form(rows, products, form);
  }
}

void CpuMatmul::prepare(const CpuRows& rows, size_t k, const kernels::MatmulKernel& kernel) {
  const size_t m = rows.m;
  std::byte* prepared = prepared_buffer_.bytes(kernel.prepared_bytes(m, k));
  prepared_ = prepared;
  if (m < kFewRows) {
    return kernel.prepare(rows.a, rows.a_stride, rows.rows, m, k, 0, m, prepared);
  }
  const auto n_piece = static_cast<uint32_t>((m + kPrepareRows - 1) / kPrepareRows);
  pool_.run(n_piece, [&](uint32_t piece, uint32_t) {
    const size_t begin = piece * kPrepareRows;
    kernel.prepare(rows.a, rows.a_stride, rows.rows, m, k, begin, std::min(m, begin + kPrepareRows),
                   prepared);
  });
}

void CpuMatmul::run_piece(const CpuRows& rows, const CpuProduct& product, size_t begin, size_t end,
                          std::byte* scratch) const {
  const CpuMatrix& w = *product.w;
  const kernels::MatmulKernel& kernel = kernel_for(w.type);
  kernels::MatmulArgs args{.prepared = prepared_,
                           .w = w.data,
                           .c = product.c,
                           .scratch = scratch,
                           .c_stride = product.c_stride,
                           .m = rows.m,
                           .k = w.k,
                           .n_begin = begin,
                           .n_end = end};
  if (exact_ && kernels::is_quantised(w.type)) {
    auto* floats = reinterpret_cast<float*>(scratch);  // (end - begin, K)
    for (size_t row = begin; row < end; ++row) {
      kernels::dequantise_row(w.type, w.data, w.k, row, floats + (row - begin) * w.k);
    }
    args.w = floats;
    args.c += begin;
    args.scratch = scratch + kernel.claim_rows(rows.m, w.k) * w.k * sizeof(float);
    args.n_begin = 0;
    args.n_end = end - begin;
  }
  kernel.run(args);
}

void CpuMatmul::run_form(const CpuRows& rows, std::span<const CpuProduct> products,
                         const kernels::MatmulKernel& form) {
  const size_t m = rows.m, k = products[0].w->k;
  prepare(rows, k, form);
  const auto claim_of = [&](const CpuProduct& product) {
    return kernel_for(product.w->type).claim_rows(m, k);
  };
  const auto pieces_of = [&](const CpuProduct& product) {
    const size_t claim = claim_of(product);
    return kernel_for(product.w->type).prepare == form.prepare ? (product.w->n + claim - 1) / claim
                                                               : 0;
  };
  size_t n_piece = 0, scratch_bytes = 0;
  for (const CpuProduct& product : products) {
    n_piece += pieces_of(product);
    size_t bytes = kernel_for(product.w->type).scratch_bytes(m, k);
    if (exact_ && kernels::is_quantised(product.w->type)) {
      bytes += claim_of(product) * k * sizeof(float);
    }
    scratch_bytes = std::max(scratch_bytes, bytes);
  }
  // Never nothing: the kernels step through it even where they do not use it.
  scratch_bytes += AlignedBuffer::kAlign;
  for (AlignedBuffer& scratch : scratch_) scratch.bytes(scratch_bytes);
  pool_.run(static_cast<uint32_t>(n_piece), [&](uint32_t piece, uint32_t thread) {
    size_t left = piece;
    const CpuProduct* product = products.data();
    while (left >= pieces_of(*product)) left -= pieces_of(*product++);
    const size_t claim = claim_of(*product), begin = left * claim;
    run_piece(rows, *product, begin, std::min(product->w->n, begin + claim),
              scratch_[thread].bytes(scratch_bytes));
  });
}

}  // namespace splitd

// Owns: dividing matrix products among the threads of a pool. Products that share their rows A are
// done together: A is prepared once for all weights that take it in the same form, and one job
// spans the weights of all of them. Exact products of quantised weights are those of the
// dequantised rows. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/engine/aligned_buffer.h"
#include "runtime/engine/thread_pool.h"
#include "runtime/model/formats/tensor.h"

namespace splitd {

// A matrix of weights in memory: (n, k) row-major, or panels of it (kernels/quantised.h).
struct CpuMatrix {
  const void* data = nullptr;
  kernels::WeightType type = kernels::WeightType::f32;
  size_t n = 0;
  size_t k = 0;
};

// The rows of A: m rows of k floats; row i is a + (rows ? rows[i] : i) · a_stride.
struct CpuRows {
  const float* a = nullptr;
  size_t a_stride = 0;
  size_t m = 0;
  const uint32_t* rows = nullptr;
};

// C[i, j] = A[i] · w[j], to c[i · c_stride + j].
struct CpuProduct {
  const CpuMatrix* w = nullptr;
  float* c = nullptr;
  size_t c_stride = 0;
};

// Sees the rows of every call, before it is computed, and which matrices they enter.
using MatmulObserver = std::function<void(const CpuRows&, std::span<const CpuProduct>)>;

class CpuMatmul {
 public:
  CpuMatmul(const kernels::KernelTable& table, bool exact, ThreadPool& pool,
            MatmulObserver observe = {})
      : kernels_(table.matmul),
        exact_(exact),
        pool_(pool),
        scratch_(pool.n_thread()),
        observe_(std::move(observe)) {}

  // All of one k.
  void run(const CpuRows& rows, std::span<const CpuProduct> products);

 private:
  const kernels::MatmulKernel& kernel_for(kernels::WeightType type) const;
  void prepare(const CpuRows& rows, size_t k, const kernels::MatmulKernel& kernel);
  void run_form(const CpuRows& rows, std::span<const CpuProduct> products,
                const kernels::MatmulKernel& form);
  void run_piece(const CpuRows& rows, const CpuProduct& product, size_t begin, size_t end,
                 std::byte* scratch) const;

  const kernels::MatmulKernels& kernels_;
  const bool exact_;
  ThreadPool& pool_;
  AlignedBuffer prepared_buffer_;
  const std::byte* prepared_ = nullptr;  // of the form at hand
  std::vector<AlignedBuffer> scratch_;   // by thread
  const MatmulObserver observe_;
};

}  // namespace splitd

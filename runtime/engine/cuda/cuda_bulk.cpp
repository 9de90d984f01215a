// Which product takes which operands, behind cuda_bulk.h.
#include "runtime/engine/cuda/cuda_bulk.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/operands.h"
#include "runtime/engine/timeline.h"

namespace splitd {

namespace gpu = kernels::cuda;
using gpu::HalfType;
using gpu::WeightType;

// Unpacked weights are read back at once: so much of them stays in the L2 of large GPUs, and the
// products are still large enough to fill one.
static constexpr size_t kPanelBytes = size_t{64} << 20;

static bool is_packed(WeightType type) {
  return type == WeightType::q8 || type == WeightType::q4;
}

std::unique_ptr<CudaBulk> CudaBulk::make(const CudaWeights& weights, int device,
                                         cudaStream_t stream, std::string& problem) {
  auto out = std::unique_ptr<CudaBulk>(new CudaBulk(stream));
  Status status = out->reserve(weights);
  if (status.ok()) {
    out->cublas_ =
        gpu::Cublas::open(stream, out->workspace_.data(), out->workspace_.bytes(), problem);
    if (out->cublas_ == nullptr) return nullptr;
    status = out->try_out(weights);
  }
  if (!status.ok()) {
    problem = status.error().message;
    return nullptr;
  }
  // It chooses its kernels by the number of multiprocessors.
  int n_multiprocessor = 0;
  cudaDeviceGetAttribute(&n_multiprocessor, cudaDevAttrMultiProcessorCount, device);
  out->arith_ =
      "cublas" + std::to_string(out->cublas_->version()) + "x" + std::to_string(n_multiprocessor);
  return out;
}

// The products of every layer.
template <class F>
static void for_products(const CudaWeights& weights, const F& look_at) {
  for (uint32_t index = weights.range().begin; index < weights.range().end; ++index) {
    const CudaLayer& layer = weights.layer(index);
    for (const CudaProducts* products :
         {&layer.qkv, &layer.o, &layer.gate_up, &layer.down, &layer.router}) {
      look_at(*products);
    }
  }
}

Status CudaBulk::reserve(const CudaWeights& weights) {
  size_t most_k = 0, panel = 0;
  bool any = false;
  const auto look_at = [&](const CudaProducts& products) {
    for (uint32_t i = 0; i < products.n_matrix; ++i) {
      const gpu::Matrix& w = products.w[i];
      most_k = std::max<size_t>(most_k, w.k_padded);
      any = any || w.type != WeightType::f32;
      if (is_packed(w.type)) {
        panel = std::max(panel, sizeof(uint16_t) * size_t{products.n()} * w.k_padded);
      }
    }
  };
  for_products(weights, look_at);
  if (!any) return failed("no weights of 16 bits or fewer");
  const std::string what = "the room for bulk chunks";
  panel = std::min(panel, std::max(kPanelBytes, sizeof(uint16_t) * most_k));
  SPLITD_ASSIGN(workspace_, DeviceBuffer::make(gpu::Cublas::kWorkspaceBytes, what));
  SPLITD_ASSIGN(panel_, DeviceBuffer::make(panel, what));
  SPLITD_ASSIGN(operand_, DeviceBuffer::make(sizeof(uint16_t) * kBulkRows * most_k, what));
  SPLITD_ASSIGN(factors_, DeviceBuffer::make(sizeof(float) * kBulkRows, what));
  return {};
}

// Every shape of product once, so that a library that does not run here, or has no kernel for one
// of them, is found before a batch needs it; ones times ones to see that it computes.
Status CudaBulk::try_out(const CudaWeights& weights) {
  constexpr uint32_t kWide = 64;
  const std::vector<uint16_t> ones(size_t{kBulkRows} * kWide, 0x3f80);
  const std::string what = "trying cuBLAS";
  SPLITD_ASSIGN(const DeviceBuffer operands,
                DeviceBuffer::make(ones.size() * sizeof(uint16_t), what));
  SPLITD_ASSIGN(const DeviceBuffer result, DeviceBuffer::make(ones.size() * sizeof(float), what));
  check(cudaMemcpyAsync(operands.data(), ones.data(), operands.bytes(), cudaMemcpyHostToDevice,
                        stream_));
  gemm(HalfType::bf16, operands.data(), operands.data(), kWide, kWide, result.as<float>(), kWide);
  std::vector<float> sums(ones.size());
  check(
      cudaMemcpyAsync(sums.data(), result.data(), result.bytes(), cudaMemcpyDeviceToHost, stream_));
  check(cudaStreamSynchronize(stream_));
  const bool right = std::all_of(sums.begin(), sums.end(), [](float sum) { return sum == kWide; });
  if (error_ == cudaSuccess && !right)
    return failed("cuBLAS computes something else than it should");
  SPLITD_TRY(try_shapes(weights));
  if (std::exchange(error_, cudaSuccess) == cudaSuccess) return {};
  cudaGetLastError();  // a library that does not run is no fault of the device's
  return failed("cuBLAS does not compute this model's products on this GPU");
}

// Zeros times the weights.
Status CudaBulk::try_shapes(const CudaWeights& weights) {
  std::vector<const CudaProducts*> kinds;
  size_t most_k = 0, most_n = 0;
  for_products(weights, [&](const CudaProducts& products) {
    const auto is_like = [&](const CudaProducts* other) {
      bool out = other->n_matrix == products.n_matrix && other->form == products.form;
      for (uint32_t i = 0; out && i < products.n_matrix; ++i) {
        const gpu::Matrix &a = other->w[i], &b = products.w[i];
        out = a.type == b.type && a.n == b.n && a.k_padded == b.k_padded;
      }
      return out;
    };
    if (products.n_matrix == 0 || std::any_of(kinds.begin(), kinds.end(), is_like)) return;
    kinds.push_back(&products);
    most_k = std::max<size_t>(most_k, products.w[0].k_padded);
    most_n = std::max<size_t>(most_n, products.n());
  });
  const std::string what = "trying cuBLAS";
  SPLITD_ASSIGN(const DeviceBuffer rows,
                DeviceBuffer::make(kBulkRows * most_k * sizeof(float), what));
  SPLITD_ASSIGN(const DeviceBuffer out,
                DeviceBuffer::make(kBulkRows * most_n * sizeof(float), what));
  check(cudaMemsetAsync(rows.data(), 0, rows.bytes(), stream_));
  for (const CudaProducts* products : kinds) {
    if (error_ == cudaSuccess) {
      check(multiply(*products, rows.data(), out.as<float>(), products->n()));
    }
  }
  check(cudaStreamSynchronize(stream_));
  return {};
}

void CudaBulk::gemm(HalfType type, const void* w, const void* a, uint32_t n, uint32_t k, float* c,
                    size_t c_stride) {
  if (error_ != cudaSuccess) return;
  check(cublas_->gemm({.w = w,
                       .a = a,
                       .c = c,
                       .c_stride = c_stride,
                       .m = kBulkRows,
                       .n = n,
                       .k = k,
                       .type = type}));
}

// The rows as the product wants them: as they are, or converted.
const void* CudaBulk::operand(HalfType type, const CudaProducts& products, const void* a) {
  if (type == HalfType::bf16 && products.form == gpu::ActivationType::bf16) return a;
  const auto* x = static_cast<const float*>(a);  // the forms of 32 bits
  const uint32_t k = products.w[0].k_padded;
  auto* to = operand_.as<uint16_t>();
  if (type == HalfType::bf16) {
    check(gpu::rows_to_bf16(x, kBulkRows, k, to, stream_));
  } else {
    check(gpu::rows_to_f16(x, kBulkRows, k, to, factors_.as<float>(), stream_));
  }
  return to;
}

// A matrix of 16-bit weights. Not together with one that happens to lie behind it: what lies where
// depends on the range of layers, and cuBLAS may choose another kernel for another shape.
void CudaBulk::as_stored(const CudaProducts& products, uint32_t index, const void* a, float* c,
                         size_t c_stride) {
  const gpu::Matrix& w = products.w[index];
  const HalfType type = w.type == WeightType::bf16 ? HalfType::bf16 : HalfType::f16;
  gemm(type, w.data, operand(type, products, a), w.n, w.k_padded, c, c_stride);
  if (type == HalfType::f16) {
    check(gpu::scale_rows(c, c_stride, kBulkRows, w.n, factors_.as<float>(), stream_));
  }
}

// q8 and q4: panel after panel, across matrices.
uint32_t CudaBulk::unpacked(const CudaProducts& products, uint32_t first, const void* a, float* c,
                            size_t c_stride) {
  const void* rows = operand(HalfType::bf16, products, a);
  const uint32_t k = products.w[first].k_padded;
  const auto room = static_cast<uint32_t>(panel_.bytes() / (sizeof(uint16_t) * k));
  auto* panel = panel_.as<uint16_t>();
  uint32_t filled = 0, i = first;
  const auto flush = [&] {
    if (filled != 0) gemm(HalfType::bf16, panel, rows, filled, k, c, c_stride);
    c += filled;
    filled = 0;
  };
  for (; i < products.n_matrix && is_packed(products.w[i].type); ++i) {
    const gpu::Matrix& w = products.w[i];
    for (uint32_t at = 0; at < w.n;) {
      const uint32_t n = std::min(w.n - at, room - filled);
      check(gpu::weights_to_bf16(w, at, n, panel + size_t{filled} * k, stream_));
      at += n;
      filled += n;
      if (filled == room) flush();
    }
  }
  flush();
  return i - first;
}

cudaError_t CudaBulk::multiply(const CudaProducts& products, const void* a, float* c,
                               size_t c_stride) {
  for (uint32_t i = 0; i < products.n_matrix && error_ == cudaSuccess;) {
    const gpu::Matrix& w = products.w[i];
    uint32_t n_taken = 1;
    if (w.type == WeightType::f32) {
      check(gpu::matmul({.w = {w},
                         .n_matrix = 1,
                         .a = a,
                         .a_type = products.form,
                         .m = kBulkRows,
                         .c = c,
                         .c_stride = c_stride},
                        stream_));
    } else if (is_packed(w.type)) {
      n_taken = unpacked(products, i, a, c, c_stride);
    } else {
      as_stored(products, i, a, c, c_stride);
    }
    for (const uint32_t end = i + n_taken; i < end; ++i) c += products.w[i].n;
  }
  return std::exchange(error_, cudaSuccess);
}

}  // namespace splitd

// Tensor-core and exact products behind matmul.h.
#include "kernels/cuda/matmul.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/weights.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kSlices = 8;  // of K; one warp each
constexpr uint32_t kThreads = kSlices * kWarp;
constexpr uint32_t kTileN = 16;  // weight rows of an mma
constexpr uint32_t kTileM = 8;   // rows of A of an mma
constexpr uint32_t kMostTilesM = 8;

// Which rows one launch works on; a plain product has one "expert" with all rows.
struct Work {
  Matrix w[kMostMatrices];  // plain
  const Matrix* experts = nullptr;
  uint32_t n_matrix = 0;
  const uint32_t* lists = nullptr;
  const uint32_t* counts = nullptr;
  uint32_t m = 0;  // plain: rows; experts: places of a list
  uint32_t a_divisor = 1;
  const void* a = nullptr;
  float* c = nullptr;
  size_t c_stride = 0;
};

// The matrix that holds column `at` of all of them, and where it begins.
__device__ __forceinline__ Matrix find_matrix(const Work& work, uint32_t tile, uint32_t tile_rows,
                                              uint32_t& row, uint32_t& column) {
  const Matrix* all = work.experts == nullptr ? work.w : work.experts + blockIdx.z * kMostMatrices;
  column = 0;
  uint32_t i = 0;
  while (i + 1 < work.n_matrix) {
    const uint32_t n_tile = (all[i].n + tile_rows - 1) / tile_rows;
    if (tile < n_tile) break;
    tile -= n_tile;
    column += all[i].n;
    ++i;
  }
  row = tile * tile_rows;
  return all[i];
}

struct RowsOfA {
  const uint32_t* list;
  uint32_t m;
  uint32_t divisor;

  __device__ __forceinline__ uint32_t source(uint32_t i) const {
    return list == nullptr ? i : list[i] / divisor;
  }
  __device__ __forceinline__ uint32_t target(uint32_t i) const {
    return list == nullptr ? i : list[i];
  }
};

__device__ __forceinline__ RowsOfA find_rows(const Work& work) {
  if (work.lists == nullptr) return {nullptr, work.m, 1};
  return {work.lists + size_t{blockIdx.z} * work.m, work.counts[blockIdx.z], work.a_divisor};
}

// One row of A, the thread's elements of one block of 32: 8t … 8t+7.
__device__ __forceinline__ uint4 load_bf16_block(const uint16_t* row, uint32_t block, uint32_t t) {
  return *reinterpret_cast<const uint4*>(row + size_t{block} * 32 + 8 * t);
}

// Two mma of 16: the four threads of a row hold eight consecutive elements each, so what the
// instruction calls k = 2t, 2t+1, 2t+8, 2t+9 are the thread's own 0 … 3, then 4 … 7.
__device__ __forceinline__ void mma_block_bf16(float (&acc)[4], const uint32_t (&low)[4],
                                               const uint32_t (&high)[4], const uint4& a) {
  const uint32_t w0[4] = {low[0], high[0], low[1], high[1]};
  const uint32_t w1[4] = {low[2], high[2], low[3], high[3]};
  const uint32_t a0[2] = {a.x, a.y};
  const uint32_t a1[2] = {a.z, a.w};
  mma_bf16(acc, w0, a0);
  mma_bf16(acc, w1, a1);
}

__device__ __forceinline__ void mma_block_f16(float (&acc)[4], const uint4& low, const uint4& high,
                                              const float* a) {
  const uint32_t l[4] = {low.x, low.y, low.z, low.w};
  const uint32_t h[4] = {high.x, high.y, high.z, high.w};
  for (int i = 0; i < 4; ++i) {
    const uint32_t w[4] = {bits_as<uint32_t>(f16_to_f32(static_cast<uint16_t>(l[i]))),
                           bits_as<uint32_t>(f16_to_f32(static_cast<uint16_t>(h[i]))),
                           bits_as<uint32_t>(f16_to_f32(static_cast<uint16_t>(l[i] >> 16))),
                           bits_as<uint32_t>(f16_to_f32(static_cast<uint16_t>(h[i] >> 16)))};
    const uint32_t b[2] = {bits_as<uint32_t>(a[2 * i]), bits_as<uint32_t>(a[2 * i + 1])};
    mma_tf32(acc, w, b);
  }
}

// A block of threads: 16 · kTilesN weight rows by 8 · kTilesM rows of A; a warp takes one slice
// of K.
template <WeightType kType, int kTilesN, int kTilesM>
__global__ void __launch_bounds__(kThreads) tensor_kernel(Work work) {
  const RowsOfA rows = find_rows(work);
  const uint32_t first_m = blockIdx.y * kTilesM * kTileM;
  if (first_m >= rows.m) return;
  uint32_t first_n, column;
  const Matrix w = find_matrix(work, blockIdx.x, kTilesN * kTileN, first_n, column);
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t g = lane / 4, t = lane % 4;

  // Beyond the last row the last one stands in; what comes of it is not stored.
  const size_t a_row_bytes = size_t{w.k_padded} * (kType == WeightType::f16 ? 4 : 2);
  const unsigned char* a[kTilesM];
  for (int i = 0; i < kTilesM; ++i) {
    const uint32_t m = min(first_m + i * kTileM + g, rows.m - 1);
    a[i] = static_cast<const unsigned char*>(work.a) + rows.source(m) * a_row_bytes;
  }

  float acc[kTilesN][kTilesM][4] = {};
  const uint32_t n_pair = w.k_padded / 64;
  const uint32_t end = n_pair * (warp + 1) / kSlices;
#pragma unroll 2
  for (uint32_t pair = n_pair * warp / kSlices; pair < end; ++pair) {
    RawPair<kType> raw[kTilesN][2];
#pragma unroll
    for (int j = 0; j < kTilesN; ++j) {
      raw[j][0] = load_pair<kType>(w, min(first_n + j * kTileN + g, w.n - 1), pair, t);
      raw[j][1] = load_pair<kType>(w, min(first_n + j * kTileN + g + 8, w.n - 1), pair, t);
    }
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      if constexpr (kType == WeightType::f16) {
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
          const auto* at =
              reinterpret_cast<const float4*>(a[i]) + size_t{pair} * 16 + block * 8 + 2 * t;
          const float4 first = at[0], second = at[1];
          const float eight[8] = {first.x,  first.y,  first.z,  first.w,
                                  second.x, second.y, second.z, second.w};
#pragma unroll
          for (int j = 0; j < kTilesN; ++j) {
            mma_block_f16(acc[j][i], raw[j][0].block[block], raw[j][1].block[block], eight);
          }
        }
      } else {
        uint32_t pairs[kTilesN][2][4];
#pragma unroll
        for (int j = 0; j < kTilesN; ++j) {
          to_bf16_pairs<kType>(raw[j][0], block, pairs[j][0]);
          to_bf16_pairs<kType>(raw[j][1], block, pairs[j][1]);
        }
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
          const uint4 eight =
              load_bf16_block(reinterpret_cast<const uint16_t*>(a[i]), 2 * pair + block, t);
#pragma unroll
          for (int j = 0; j < kTilesN; ++j) {
            if constexpr (kType == WeightType::bf16) {
              mma_block_bf16(acc[j][i], pairs[j][0], pairs[j][1], eight);
            } else {
              float sum[4] = {};
              mma_block_bf16(sum, pairs[j][0], pairs[j][1], eight);
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                acc[j][i][e] = fmaf(raw[j][e / 2].scale[block], sum[e], acc[j][i][e]);
              }
            }
          }
        }
      }
    }
  }

  // partial[slice][weight row][row of A]; a row more than needed keeps the banks apart.
  constexpr uint32_t kRows = kTilesN * kTileN, kColumns = kTilesM * kTileM;
  constexpr uint32_t kStride = kColumns + 1;
  float* partial = dynamic_shared<float>();
#pragma unroll
  for (int j = 0; j < kTilesN; ++j) {
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const uint32_t n = j * kTileN + g + 8 * (e / 2), m = i * kTileM + 2 * t + e % 2;
        partial[(warp * kRows + n) * kStride + m] = acc[j][i][e];
      }
    }
  }
  __syncthreads();
  for (uint32_t at = threadIdx.x; at < kRows * kColumns; at += kThreads) {
    const uint32_t n = at % kRows, m = at / kRows;
    if (first_n + n >= w.n || first_m + m >= rows.m) continue;
    float s[kSlices];
#pragma unroll
    for (uint32_t slice = 0; slice < kSlices; ++slice) {
      s[slice] = partial[(slice * kRows + n) * kStride + m];
    }
    const float sum = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    work.c[rows.target(first_m + m) * work.c_stride + column + first_n + n] = sum;
  }
}

// A warp takes one weight row and 8 rows of A.
constexpr uint32_t kExactWarps = 4;
constexpr int kExactRows = 8;

template <WeightType kType>
__global__ void __launch_bounds__(kExactWarps* kWarp) exact_kernel(Work work) {
  const RowsOfA rows = find_rows(work);
  const uint32_t first_m = blockIdx.y * kExactRows;
  if (first_m >= rows.m) return;
  uint32_t first_n, column;
  const Matrix w = find_matrix(work, blockIdx.x, kExactWarps, first_n, column);
  const uint32_t lane = threadIdx.x % kWarp, n = first_n + threadIdx.x / kWarp;
  if (n >= w.n) return;
  const float* a[kExactRows];
  for (int i = 0; i < kExactRows; ++i) {
    const uint32_t m = min(first_m + i, rows.m - 1);
    a[i] = static_cast<const float*>(work.a) + size_t{rows.source(m)} * w.k_padded;
  }
  float sum[kExactRows] = {};
  for (uint32_t k = lane * 8; k < w.k_padded; k += kWarp * 8) {
    float x[8];
    load_floats<kType>(w, n, k, x);
#pragma unroll
    for (int i = 0; i < kExactRows; ++i) {
      const auto* at = reinterpret_cast<const float4*>(a[i] + k);
      const float4 first = at[0], second = at[1];
      const float y[8] = {first.x,  first.y,  first.z,  first.w,
                          second.x, second.y, second.z, second.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) sum[i] = fmaf(x[e], y[e], sum[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kExactRows; ++i) {
    if (first_m + i >= rows.m) break;  // of the whole warp
    const float total = warp_sum(sum[i]);
    if (lane == 0) work.c[rows.target(first_m + i) * work.c_stride + column + n] = total;
  }
}

uint32_t tiles_of(const Matrix* matrices, uint32_t n_matrix, uint32_t tile_rows) {
  uint32_t out = 0;
  for (uint32_t i = 0; i < n_matrix; ++i) out += (matrices[i].n + tile_rows - 1) / tile_rows;
  return out;
}

// Grid sizes of one launch, by what a block of threads takes.
struct Extent {
  const Matrix* matrices;  // on the host; nullptr: every expert has n columns
  uint32_t n_matrix;
  uint32_t n;
  uint32_t m;
  uint32_t m_likely;
  uint32_t n_expert;

  dim3 grid(uint32_t tile_n, uint32_t tile_m) const {
    // Experts' matrices are of one shape each, so that their tiles are counted from n / n_matrix.
    const uint32_t tiles = matrices != nullptr ? tiles_of(matrices, n_matrix, tile_n)
                                               : n_matrix * ((n / n_matrix + tile_n - 1) / tile_n);
    return dim3(tiles, (m + tile_m - 1) / tile_m, n_expert);
  }
};

template <WeightType kType, int kTilesN, int kTilesM>
cudaError_t launch_tensor(const Work& work, const Extent& extent, cudaStream_t stream) {
  constexpr uint32_t kRows = kTilesN * kTileN, kColumns = kTilesM * kTileM;
  return launch("matmul", tensor_kernel<kType, kTilesN, kTilesM>,
                {extent.grid(kRows, kColumns), dim3(kThreads),
                 sizeof(float) * kSlices * kRows * (kColumns + 1), stream},
                work);
}

// More rows of A share one reading of more weight rows; the order of sums knows nothing of it.
template <WeightType kType>
cudaError_t run_tensor(const Work& work, const Extent& extent, cudaStream_t stream) {
  if (extent.m_likely <= 8) return launch_tensor<kType, 1, 1>(work, extent, stream);
  if (extent.m_likely <= 16) return launch_tensor<kType, 1, 2>(work, extent, stream);
  if (extent.m_likely <= 32) return launch_tensor<kType, 1, 4>(work, extent, stream);
  return launch_tensor<kType, 2, kMostTilesM>(work, extent, stream);
}

template <WeightType kType>
cudaError_t run_exact(const Work& work, const Extent& extent, cudaStream_t stream) {
  return launch("matmul_exact", exact_kernel<kType>,
                {extent.grid(kExactWarps, kExactRows), dim3(kExactWarps * kWarp), 0, stream}, work);
}

cudaError_t run(const Work& work, WeightType type, ActivationType a_type, const Extent& extent,
                cudaStream_t stream) {
  if (extent.m == 0) return cudaSuccess;
  if (a_type == ActivationType::f32) {
    switch (type) {
      case WeightType::f32:
        return run_exact<WeightType::f32>(work, extent, stream);
      case WeightType::bf16:
        return run_exact<WeightType::bf16>(work, extent, stream);
      case WeightType::f16:
        return run_exact<WeightType::f16>(work, extent, stream);
      case WeightType::q8:
        return run_exact<WeightType::q8>(work, extent, stream);
      case WeightType::q4:
        return run_exact<WeightType::q4>(work, extent, stream);
    }
  }
  if (a_type != activation_of(type)) return cudaErrorInvalidValue;
  switch (type) {
    case WeightType::bf16:
      return run_tensor<WeightType::bf16>(work, extent, stream);
    case WeightType::f16:
      return run_tensor<WeightType::f16>(work, extent, stream);
    case WeightType::q8:
      return run_tensor<WeightType::q8>(work, extent, stream);
    case WeightType::q4:
      return run_tensor<WeightType::q4>(work, extent, stream);
    case WeightType::f32:
      break;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

ActivationType activation_of(WeightType type) {
  if (type == WeightType::f32) return ActivationType::f32;
  return type == WeightType::f16 ? ActivationType::tf32 : ActivationType::bf16;
}

cudaError_t matmul(const MatmulJob& job, cudaStream_t stream) {
  Work work;
  for (uint32_t i = 0; i < job.n_matrix; ++i) work.w[i] = job.w[i];
  work.n_matrix = job.n_matrix;
  work.m = job.m;
  work.a = job.a;
  work.c = job.c;
  work.c_stride = job.c_stride;
  return run(work, job.w[0].type, job.a_type, {job.w, job.n_matrix, 0, job.m, job.m, 1}, stream);
}

cudaError_t matmul_experts(const ExpertJob& job, cudaStream_t stream) {
  Work work;
  work.experts = job.w;
  work.n_matrix = job.n_matrix;
  work.lists = job.lists;
  work.counts = job.counts;
  work.m = job.m_most;
  work.a_divisor = job.a_divisor;
  work.a = job.a;
  work.c = job.c;
  work.c_stride = job.c_stride;
  return run(work, job.type, job.a_type,
             {nullptr, job.n_matrix, job.n, job.m_most, job.m_likely, job.n_expert}, stream);
}

}  // namespace splitd::kernels::cuda

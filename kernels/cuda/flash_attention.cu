// Tiles on tensor cores behind flash_attention.h. A block of 8 warps has 64 rows of one head: warps
// 0-3 take 16 rows each and the lower half of every tile's positions, warps 4-7 the upper half. The
// next tile is copied to shared memory while one is computed.
#include "kernels/cuda/flash_attention.h"

#include "kernels/cuda/activations.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/kv_values.h"
#include "kernels/cuda/launch.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kRowWarps = kFlashRows / 16;
constexpr float kLog2E = 1.44269504f;

// Shared memory: two stages of K and V, (kTile, kStride) 16-bit numbers each. Before the first tile
// the second stage holds the queries, after the last all of it the upper halves' results.
template <int kDim>
struct Layout {
  static constexpr uint32_t kTile = kDim > 128 ? 32 : 64;
  static constexpr uint32_t kHalf = kTile / 2;
  static constexpr uint32_t kStride = kDim + 8;  // keeps the banks of eight rows apart
  static constexpr uint32_t kStage = 2 * kTile * kStride;
  static constexpr size_t kBytes = 2 * sizeof(uint16_t) * kStage;
  static_assert(kFlashRows * kStride <= kStage);
  static_assert(sizeof(float) * kFlashRows * (kDim + 2) <= kBytes);
};

__device__ __forceinline__ float minus_infinity() {
  return bits_as<float>(0xff800000u);
}

template <bool kIsF16>
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  if constexpr (kIsF16) {
    mma_f16(c, a, b);
  } else {
    mma_bf16(c, a, b);
  }
}

template <bool kIsF16>
__device__ __forceinline__ uint32_t pack(float low, float high) {
  return kIsF16 ? pack_f16(low, high) : pack_bf16(low, high);
}

// The block's queries, rounded, and by row what its scores are to be multiplied with. A warp takes
// a row.
template <bool kIsF16, int kDim>
__device__ __forceinline__ void stage_queries(const FlashJob& job, uint32_t first_row,
                                              uint32_t head, uint16_t* to, float* factors) {
  const uint32_t lane = threadIdx.x % kWarp;
  for (uint32_t row = threadIdx.x / kWarp; row < kFlashRows; row += kThreads / kWarp) {
    const float* q = job.q + (first_row + row) * job.q_stride + size_t{head} * job.d_head;
    float x[kDim / kWarp];
    float most = 0;
#pragma unroll
    for (uint32_t i = 0; i < kDim / kWarp; ++i) {
      const uint32_t e = i * kWarp + lane;
      x[i] = e < job.d_head ? q[e] : 0.0f;
      most = fmaxf(most, fabsf(x[i]));
    }
    // 2^-down brings the row's largest into [2^14, 2^15). A NaN stays one.
    int down = 0;
    if constexpr (kIsF16) {
      most = warp_max(most);
      const int exponent = static_cast<int>(bits_as<uint32_t>(most) >> 23);
      down = most > 0 ? (exponent > 15 ? exponent - 141 : -126) : 0;
    }
    const float shrink = bits_as<float>(static_cast<uint32_t>(127 - down) << 23);
#pragma unroll
    for (uint32_t i = 0; i < kDim / kWarp; ++i) {
      const uint32_t at = row * Layout<kDim>::kStride + i * kWarp + lane;
      to[at] = kIsF16 ? f32_to_f16(x[i] * shrink) : f32_to_bf16(x[i]);
    }
    if (lane == 0) {
      factors[row] = job.scale * bits_as<float>(static_cast<uint32_t>(127 + down) << 23);
    }
  }
}

// kTile rows of K or V from `from` on to shared memory, zeros behind d; complete once the copies
// have been waited for.
template <bool kIsF16, int kDim>
__device__ __forceinline__ void stage_rows(KvType type, const unsigned char* from,
                                           uint32_t row_bytes, uint32_t d, uint16_t* to) {
  constexpr uint32_t kPieces = kDim / 8;
  for (uint32_t i = threadIdx.x; i < Layout<kDim>::kTile * kPieces; i += kThreads) {
    const uint32_t row = i / kPieces, e = i % kPieces * 8;
    const unsigned char* source = from + size_t{row} * row_bytes;
    uint16_t* target = to + row * Layout<kDim>::kStride + e;
    if (kIsF16 || type == KvType::bf16) {
      const bool any = e < d;
      copy_16_async(target, any ? source + 2 * e : source, any ? 2 * min(8u, d - e) : 0u);
      continue;
    }
    float x[8];
    if (type == KvType::q8) {
      read_kv_8<KvType::q8>(source, e, d, x);
    } else {
      read_kv_8<KvType::f32>(source, e, d, x);
    }
    *reinterpret_cast<uint4*>(target) = {pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                         pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])};
  }
}

// What a warp has of its 16 rows: a thread holds columns 2t, 2t + 1 of every 8, of rows g and g
// + 8.
template <int kDim>
struct State {
  float acc[kDim / 8][4];
  float most[2];
  float sum[2];  // of the thread's own columns
};

// The scores of 16 rows and kHalf positions become probabilities; `state` is scaled for them.
// `row` is the position of the thread's upper row, `column` that of its first column.
template <int kDim>
__device__ __forceinline__ void soften(const FlashJob& job, const float (&factors)[2], uint32_t row,
                                       uint32_t column, bool has_masked,
                                       float (&s)[Layout<kDim>::kHalf / 8][4], State<kDim>& state) {
  constexpr int kGroups = Layout<kDim>::kHalf / 8;
  float most[2] = {state.most[0], state.most[1]};
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float score = s[j][e] * factors[e / 2];
      score = fmaf(score, 0.0f, score);  // beyond the KV's type: NaN, which no softcap hides
      if (job.softcap != 0) score = job.softcap * tanhf(score / job.softcap);
      score *= kLog2E;
      if (has_masked) {
        const uint32_t mine = row + 8 * (e / 2), at = column + 8 * j + e % 2;
        const bool masked = at > mine || (job.window != 0 && mine - at >= job.window);
        if (masked) score = minus_infinity();
      }
      s[j][e] = score;
      most[e / 2] = fmaxf(most[e / 2], score);
    }
  }
  float base[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    most[i] = fmaxf(most[i], shuffle_xor(most[i], 1));
    most[i] = fmaxf(most[i], shuffle_xor(most[i], 2));
    base[i] = most[i] == minus_infinity() ? 0.0f : most[i];  // nothing but masked ones so far
    const float shrink = exp2_fast(state.most[i] - base[i]);
    state.most[i] = most[i];
    state.sum[i] *= shrink;
#pragma unroll
    for (int j = 0; j < kDim / 8; ++j) {
      state.acc[j][2 * i] *= shrink;
      state.acc[j][2 * i + 1] *= shrink;
    }
  }
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[j][e] = exp2_fast(s[j][e] - base[e / 2]);
      state.sum[e / 2] += s[j][e];
    }
  }
}

// Half a tile of K and V, by one warp.
template <bool kIsF16, int kDim>
__device__ __forceinline__ void add_half(const FlashJob& job, const uint32_t (&q)[kDim / 16][4],
                                         const uint16_t* k, const uint16_t* v,
                                         const float (&factors)[2], uint32_t row, uint32_t column,
                                         bool has_masked, State<kDim>& state) {
  using L = Layout<kDim>;
  const uint32_t lane = threadIdx.x % kWarp;
  const uint16_t* k_at = k + (lane % 8 + lane / 16 * 8) * L::kStride + lane / 8 % 2 * 8;
  const uint16_t* v_at = v + lane % 16 * L::kStride + lane / 16 * 8;
  float s[L::kHalf / 8][4] = {};
#pragma unroll
  for (uint32_t step = 0; step < kDim / 16; ++step) {
#pragma unroll
    for (uint32_t j = 0; j < L::kHalf / 16; ++j) {
      uint32_t b[4];
      load_matrices(b, k_at + j * 16 * L::kStride + step * 16);
      mma<kIsF16>(s[2 * j], q[step], b[0], b[1]);
      mma<kIsF16>(s[2 * j + 1], q[step], b[2], b[3]);
    }
  }
  soften<kDim>(job, factors, row, column, has_masked, s, state);
#pragma unroll
  for (uint32_t j = 0; j < L::kHalf / 16; ++j) {
    const uint32_t p[4] = {pack<kIsF16>(s[2 * j][0], s[2 * j][1]),
                           pack<kIsF16>(s[2 * j][2], s[2 * j][3]),
                           pack<kIsF16>(s[2 * j + 1][0], s[2 * j + 1][1]),
                           pack<kIsF16>(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
    for (uint32_t i = 0; i < kDim / 16; ++i) {
      uint32_t b[4];
      load_matrices_transposed(b, v_at + j * 16 * L::kStride + i * 16);
      mma<kIsF16>(state.acc[2 * i], p, b[0], b[1]);
      mma<kIsF16>(state.acc[2 * i + 1], p, b[2], b[3]);
    }
  }
}

// Upper halves to shared memory, from where the lower ones' warps take them and write the rows.
template <int kDim>
__device__ __forceinline__ void finish(const FlashJob& job, uint32_t first_row, uint32_t head,
                                       State<kDim>& state, float* shared) {
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t row = warp % kRowWarps * 16 + lane / 4, t = lane % 4, d = job.d_head;
  float* ends = shared + kFlashRows * kDim;  // by row: most, sum
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    state.sum[i] += shuffle_xor(state.sum[i], 1);
    state.sum[i] += shuffle_xor(state.sum[i], 2);
  }
  __syncthreads();  // all are done with the last tile
  if (warp >= kRowWarps) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float* to = shared + (row + 8 * i) * kDim;
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j) {
        to[8 * j + 2 * t] = state.acc[j][2 * i];
        to[8 * j + 2 * t + 1] = state.acc[j][2 * i + 1];
      }
      if (t == 0) {
        ends[2 * (row + 8 * i)] = state.most[i];
        ends[2 * (row + 8 * i) + 1] = state.sum[i];
      }
    }
  }
  __syncthreads();
  if (warp >= kRowWarps) return;
  const uint32_t width = job.n_head * d;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t mine = row + 8 * i;
    const float* other = shared + mine * kDim;
    const float most = fmaxf(state.most[i], ends[2 * mine]);  // finite: a row sees itself
    const float lower = exp2_fast(state.most[i] - most), upper = exp2_fast(ends[2 * mine] - most);
    const float sum = state.sum[i] * lower + ends[2 * mine + 1] * upper;
    const size_t out_row = size_t{first_row + mine} * pad_k(width);
#pragma unroll
    for (int j = 0; j < kDim / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const uint32_t at = 8 * j + 2 * t + e;
        const float value = state.acc[j][2 * i + e] * lower + other[at] * upper;
        if (at < d) store(job.out, out_row + head * d + at, value / sum);
      }
    }
    if (head + 1 == job.n_head) {
      for (uint32_t at = width + t; at < pad_k(width); at += 4) store(job.out, out_row + at, 0.0f);
    }
  }
}

template <bool kIsF16, int kDim>
__global__ void __launch_bounds__(kThreads) flash_kernel(FlashJob job) {
  using L = Layout<kDim>;
  __shared__ float row_factors[kFlashRows];
  uint16_t* shared = dynamic_shared<uint16_t>();
  const uint32_t head = blockIdx.x, first_row = blockIdx.y * kFlashRows, d = job.d_head;
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t half = warp / kRowWarps, my_rows = warp % kRowWarps * 16;

  const uint32_t first = job.rows[0].position + first_row;  // position of the block's first row
  const KvView view = job.rows[0].layers[job.layer];
  const uint32_t row_bytes = kv_row_bytes(job.kv_type, d);
  const uint32_t kv_head = head / (job.n_head / job.n_kv_head);
  const unsigned char* k = view.k + size_t{kv_head} * view.n_slot * row_bytes;
  const unsigned char* v = view.v + size_t{kv_head} * view.n_slot * row_bytes;
  // A tile's positions lie side by side: a ring is a multiple of 64 or none reaches its end.
  const auto stage_tile = [&](uint32_t at, uint16_t* to) {
    const size_t offset = size_t{cache_slot(view, at)} * row_bytes;
    stage_rows<kIsF16, kDim>(job.kv_type, k + offset, row_bytes, d, to);
    stage_rows<kIsF16, kDim>(job.kv_type, v + offset, row_bytes, d, to + L::kTile * L::kStride);
  };

  const uint32_t lo = job.window != 0 && first + 1 > job.window ? first + 1 - job.window : 0;
  const uint32_t begin = lo / L::kTile * L::kTile, end = first + kFlashRows;
  stage_tile(begin, shared);
  stage_queries<kIsF16, kDim>(job, first_row, head, shared + L::kStage, row_factors);
  __syncthreads();
  uint32_t q[kDim / 16][4];
  const uint16_t* q_at = shared + L::kStage + (my_rows + lane % 16) * L::kStride + lane / 16 * 8;
#pragma unroll
  for (uint32_t i = 0; i < kDim / 16; ++i) load_matrices(q[i], q_at + i * 16);
  const float factors[2] = {row_factors[my_rows + lane / 4], row_factors[my_rows + lane / 4 + 8]};

  State<kDim> state = {};
  state.most[0] = state.most[1] = minus_infinity();
  const uint32_t top = first + my_rows;  // position of the warp's first row
  uint32_t stage = 0;
  for (uint32_t at = begin; at < end; at += L::kTile, stage ^= 1) {
    wait_for_copies();
    __syncthreads();  // this tile is there, and all are done with the one before
    if (at + L::kTile < end) stage_tile(at + L::kTile, shared + (stage ^ 1) * L::kStage);
    const uint32_t mine = at + half * L::kHalf, last = mine + L::kHalf - 1;
    const bool is_ahead = mine > top + 15;
    const bool is_behind = job.window != 0 && top > last && top - last >= job.window;
    if (is_ahead || is_behind) continue;
    const bool has_masked = last > top || (job.window != 0 && top + 15 - mine >= job.window);
    const uint16_t* tile = shared + stage * L::kStage + half * L::kHalf * L::kStride;
    add_half<kIsF16, kDim>(job, q, tile, tile + L::kTile * L::kStride, factors, top + lane / 4,
                           mine + 2 * (lane % 4), has_masked, state);
  }
  finish<kDim>(job, first_row, head, state, dynamic_shared<float>());
}

template <bool kIsF16, int kDim>
cudaError_t run(const FlashJob& job, cudaStream_t stream) {
  return launch(
      "flash_attention", flash_kernel<kIsF16, kDim>,
      {dim3(job.n_head, job.m / kFlashRows), dim3(kThreads), Layout<kDim>::kBytes, stream}, job);
}

template <bool kIsF16>
cudaError_t run(const FlashJob& job, cudaStream_t stream) {
  if (job.d_head <= 64) return run<kIsF16, 64>(job, stream);
  if (job.d_head <= 96) return run<kIsF16, 96>(job, stream);
  if (job.d_head <= 128) return run<kIsF16, 128>(job, stream);
  return run<kIsF16, 256>(job, stream);
}

}  // namespace

cudaError_t flash_attention(const FlashJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  if (job.m % kFlashRows != 0 || job.d_head > kMostFlashDim) return cudaErrorInvalidValue;
  return job.kv_type == KvType::f16 ? run<true>(job, stream) : run<false>(job, stream);
}

}  // namespace splitd::kernels::cuda

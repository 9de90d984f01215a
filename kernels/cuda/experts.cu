// Routing behind experts.h.
#include "kernels/cuda/experts.h"

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/launch.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;

// A warp takes a row. Softmax: element i to lane i mod 32, ascending, lanes xor 16 … 1.
__global__ void __launch_bounds__(kWarp) route_kernel(RouteJob job) {
  const uint32_t row = blockIdx.x, lane = threadIdx.x;
  if (job.rows != nullptr && job.rows[row].is_dead()) {
    for (uint32_t i = lane; i < job.n_used; i += kWarp) {
      job.ids[size_t{row} * job.n_used + i] = job.n_expert;
    }
    return;  // the whole block
  }
  float* p = job.scores + size_t{row} * job.n_expert;
  float most = bits_as<float>(0xff800000u);
  for (uint32_t i = lane; i < job.n_expert; i += kWarp) most = fmaxf(most, p[i]);
  most = warp_max(most);
  float sum = 0;
  for (uint32_t i = lane; i < job.n_expert; i += kWarp) {
    p[i] = expf(p[i] - most);
    sum += p[i];
  }
  sum = warp_sum(sum);
  for (uint32_t i = lane; i < job.n_expert; i += kWarp) p[i] /= sum;
  __syncthreads();
  if (lane != 0) return;

  // By hand: n_used is a handful. A score that is NaN orders nothing, and poisons the row.
  uint32_t* ids = job.ids + size_t{row} * job.n_used;
  float* weights = job.weights + size_t{row} * job.n_used;
  float total = 0;
  for (uint32_t i = 0; i < job.n_used; ++i) {
    uint32_t best = job.n_expert;
    for (uint32_t e = 0; e < job.n_expert; ++e) {
      bool is_taken = false;
      for (uint32_t j = 0; j < i; ++j) is_taken = is_taken || ids[j] == e;
      if (!is_taken && (best == job.n_expert || p[e] > p[best])) best = e;
    }
    ids[i] = best;
    weights[i] = sum == sum ? p[best] : sum;
    total += weights[i];
  }
  for (uint32_t i = 0; i < job.n_used; ++i) {
    if (job.normalise) weights[i] /= total;
    const uint32_t id = ids[i];
    const float weight = weights[i];
    uint32_t at = i;
    for (; at > 0 && ids[at - 1] > id; --at) {
      ids[at] = ids[at - 1];
      weights[at] = weights[at - 1];
    }
    ids[at] = id;
    weights[at] = weight;
  }
}

// A thread takes an expert. A row has an expert once, so that a list is no longer than m.
__global__ void __launch_bounds__(kThreads) list_kernel(RouteJob job) {
  const uint32_t expert = blockIdx.x * kThreads + threadIdx.x, n_place = job.m * job.n_used;
  if (expert >= job.n_expert) return;
  uint32_t* list = job.lists + size_t{expert} * job.m;
  uint32_t count = 0;
  for (uint32_t place = 0; place < n_place; ++place) {
    if (job.ids[place] == expert) list[count++] = place;
  }
  job.counts[expert] = count;
}

__global__ void __launch_bounds__(kThreads) combine_kernel(CombineJob job) {
  const uint32_t row = blockIdx.y, i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= job.d) return;
  float out = 0;
  const bool is_dead = job.rows != nullptr && job.rows[row].is_dead();
  for (uint32_t j = 0; j < job.n_used && !is_dead; ++j) {
    const size_t place = size_t{row} * job.n_used + j;
    out = fmaf(job.weights[place], job.parts[place * job.d + i], out);
  }
  job.out[size_t{row} * job.d + i] = out;
}

}  // namespace

cudaError_t route(const RouteJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  if (job.n_used > kMostExpertsUsed) return cudaErrorInvalidValue;
  const cudaError_t error =
      launch("route", route_kernel, {dim3(job.m), dim3(kWarp), 0, stream}, job);
  if (error != cudaSuccess) return error;
  const uint32_t n_block = (job.n_expert + kThreads - 1) / kThreads;
  return launch("expert_lists", list_kernel, {dim3(n_block), dim3(kThreads), 0, stream}, job);
}

cudaError_t combine(const CombineJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  const uint32_t n_block = (job.d + kThreads - 1) / kThreads;
  return launch("combine", combine_kernel, {dim3(n_block, job.m), dim3(kThreads), 0, stream}, job);
}

}  // namespace splitd::kernels::cuda

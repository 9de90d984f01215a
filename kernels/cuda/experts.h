// Owns: choosing each row's experts and adding up what they say. Ties go to the lower id; a row's
// experts are added in ascending order of id.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

inline constexpr uint32_t kMostExpertsUsed = 64;

struct RouteJob {
  float* scores = nullptr;  // (m, n_expert): the router's; changed
  uint32_t m = 0;
  uint32_t n_expert = 0;
  uint32_t n_used = 0;
  bool normalise = false;          // the weights of the chosen ones are scaled to sum to 1
  const BatchRow* rows = nullptr;  // dead ones have no experts: their ids are n_expert
  uint32_t* ids = nullptr;         // (m, n_used), ascending in each row
  float* weights = nullptr;        // (m, n_used)
  uint32_t* lists = nullptr;       // (n_expert, m): places row · n_used + i, ascending
  uint32_t* counts = nullptr;      // (n_expert)
};
cudaError_t route(const RouteJob& job, cudaStream_t stream);

struct CombineJob {
  const float* parts = nullptr;    // (m · n_used, d)
  const float* weights = nullptr;  // (m, n_used)
  float* out = nullptr;            // (m, d)
  const BatchRow* rows = nullptr;  // dead ones come to 0
  uint32_t m = 0;
  uint32_t n_used = 0;
  uint32_t d = 0;
};
cudaError_t combine(const CombineJob& job, cudaStream_t stream);

}  // namespace splitd::kernels::cuda

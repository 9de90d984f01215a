// Owns: what the kernels and the backend that calls them agree on: weights, activations and caches
// as they lie in device memory. Plain structs; pointers are the device's unless a comment says
// otherwise.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace splitd::kernels::cuda {

// How a matrix's numbers are stored. q8: int8. q4: of each two groups of 32 along K 32 bytes, byte
// i with element i of the first in its low nibble and of the second in its high one, 0 … 15 for
// −8 … 7. Both have a f16 scale for every group, in an array of their own.
enum class WeightType : uint8_t { f32, bf16, f16, q8, q4 };

// What enters a matrix product. The products of a layer take the form that their weights want:
// f32 with the exact kernel, bf16 and tf32 (an f32 whose low 13 bits are zero) on tensor cores.
enum class ActivationType : uint8_t { f32, bf16, tf32 };

// Where prepared activations go: (m, pad_k(n)), zeros behind n.
struct Activations {
  void* data = nullptr;
  ActivationType type = ActivationType::f32;
};

// Rows of K are padded with zeros to a multiple of this, in weights and in activations.
inline constexpr uint32_t kPadK = 64;
inline constexpr uint32_t kGroup = 32;

__host__ __device__ constexpr uint32_t pad_k(uint32_t k) {
  return (k + kPadK - 1) / kPadK * kPadK;
}
__host__ __device__ constexpr size_t row_bytes(WeightType type, uint32_t k_padded) {
  switch (type) {
    case WeightType::f32:
      return size_t{4} * k_padded;
    case WeightType::bf16:
    case WeightType::f16:
      return size_t{2} * k_padded;
    case WeightType::q8:
      return k_padded;
    case WeightType::q4:
      return k_padded / 2;
  }
  return 0;
}

// (n, k) row-major, rows back to back, 256-byte aligned.
struct Matrix {
  const void* data = nullptr;
  const uint16_t* scales = nullptr;  // (n, k_padded / 32), q8 and q4
  WeightType type = WeightType::f32;
  uint32_t n = 0;
  uint32_t k_padded = 0;
};

// The KV of one session in one layer, by kv head, slot, dimension. q8: groups of 32 dimensions, a
// f16 scale and 32 int8 each.
enum class KvType : uint8_t { f32, f16, bf16, q8 };

__host__ __device__ constexpr uint32_t kv_row_bytes(KvType type, uint32_t d_head) {
  const uint32_t bytes = type == KvType::f32  ? 4 * d_head
                         : type == KvType::q8 ? (d_head + 31) / 32 * 34
                                              : 2 * d_head;
  return (bytes + 15) / 16 * 16;
}

struct KvView {
  unsigned char* k = nullptr;
  unsigned char* v = nullptr;
  uint32_t ring = 0;    // slots of positions; a multiple of 64, or no position reaches it
  uint32_t n_ctx = 0;   // timeline slots from here on are those of pending side branches
  uint32_t n_slot = 0;  // ring + pending ones, of each kv head
  KvType type = KvType::f16;
};

// One row of a batch. A dead one fills a batch up: it has no KV, and what is computed of it, out of
// whatever lies there, nobody reads.
struct BatchRow {
  const KvView* layers = nullptr;  // of its session, by layer of the backend; nullptr: dead
  uint32_t position = 0;
  uint32_t slot = 0;
  uint32_t n_committed = 0;
  uint32_t path = 0;  // where its path begins in the batch's paths

  __host__ __device__ bool is_dead() const { return layers == nullptr; }
};

}  // namespace splitd::kernels::cuda

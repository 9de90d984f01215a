// Owns: the sizes of a cache of keys and values; attention.h says how it lies.
#include "kernels/attention.h"

namespace splitd::kernels {
namespace {

constexpr size_t kStrip = 16;  // slots
constexpr size_t kGroup = 32;  // dimensions that share a scale in q8

size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

size_t element_bytes(KvType type) {
  return type == KvType::f32 ? 4 : type == KvType::q8 ? 1 : 2;
}

size_t scale_bytes(KvType type, size_t d_head) {
  return type == KvType::q8 ? round_up(d_head, kGroup) / kGroup * 2 : 0;
}

}  // namespace

size_t kv_k_bytes(KvType type, size_t d_head, size_t n_slot) {
  return round_up(n_slot, kStrip) * (d_head * element_bytes(type) + scale_bytes(type, d_head));
}

size_t kv_v_bytes(KvType type, size_t d_head, size_t n_slot) {
  return n_slot * (round_up(d_head, kStrip) * element_bytes(type) + scale_bytes(type, d_head));
}

}  // namespace splitd::kernels

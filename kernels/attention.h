// Owns: the contract of attention over a session's KV, for every instruction set: what a cache
// looks like in memory, writing it, and reading it.
// Thread-safe: a call touches only what its arguments point to; rows, kv heads and splits of one
// pass may be divided among threads in any way. Never fails, allocates or throws.
//
// A cache holds, for one kv head of one layer, K and V by slot. K lies in strips of 16 slots, one
// dimension after the other, 16 values each (then 16 positions are 16 lanes and a dot product needs
// no sum across them); V lies row after row, d_head rounded up to 16. q8 adds a f16 scale to every
// 32 dimensions. Nobody but these kernels looks inside. A cache starts zeroed; a slot that was
// never written may be read, and is then ignored.
//
// The order, the same for a row alone, in a batch, in any chunk, wherever its rows lie:
//   score   fma over 64 dimensions ascending, such sums added ascending; times scale; the softcap
//   block   64 positions from a multiple of 64: m' = max(m, scores); p = exp(score − m');
//           sum = sum·exp(m − m') + ((p0+p1)+(p2+p3)), in 16 lanes; acc likewise, then
//           fma(p, v, acc) over the positions ascending. Masked positions take no part; a block
//           without others is skipped.
//   split   1024 positions from a multiple of 1024: its own m, sum, acc. The lanes of the sum are
//           added l + l+8, +4, +2, +1. Splits are merged in ascending order: m' = max(M, m),
//           M's part times exp(M − m') first, then fma with exp(m − m').
//   result  acc / sum
// The vector units do the same operations and agree bit for bit. The reference does them in f64.
// A NaN or infinity among a row's q, or the K and V that it attends to, makes its result NaN or
// infinite: a score that is not finite in f32 becomes NaN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitd::kernels {

enum class KvType : uint8_t { f32, f16, bf16, q8 };

inline constexpr uint32_t kAttentionSplit = 1024;  // positions

// Bytes of one kv head's K or V for n_slot slots. Any alignment of 4 will do; 64 is faster.
[[nodiscard]] size_t kv_k_bytes(KvType type, size_t d_head, size_t n_slot);
[[nodiscard]] size_t kv_v_bytes(KvType type, size_t d_head, size_t n_slot);

// One query row. It attends to the positions lo … position. Those below n_committed lie in the slot
// position mod ring, the others in path[position − n_committed]. lo ≤ position ≥ n_committed − 1.
struct AttentionRow {
  const float* q;  // (n_head of this kv head, d_head)
  float* out;      // as q; may be q
  uint32_t position;
  uint32_t lo;           // the first position within the window
  uint32_t n_committed;  // may be position + 1: then path is not read
  const uint32_t* path;  // position + 1 − n_committed slots, this row's own the last
};

struct AttentionArgs {
  const AttentionRow* rows;  // any rows of one session, best ascending by position
  size_t n_row;
  const void* k;  // of this kv head
  const void* v;
  KvType type;
  uint32_t d_head;  // even
  uint32_t n_head;  // query heads that share this kv head
  uint32_t ring;    // a multiple of 64, or no position reaches it
  float scale;
  float softcap;  // 0: none
  void* scratch;  // scratch_bytes(d_head, n_head) of this thread alone, 64-byte aligned
};

struct AttentionKernels {
  // Rounds one row of d_head floats to nearest even and puts it into a slot. q8: scale =
  // f16(max|x|/127), x / scale rounded and clamped. Beyond the type's range (f16: 65504, q8: 8.3e6)
  // a value becomes infinite, in q8 its group NaN, and attention notices.
  void (*write_k)(KvType type, const float* x, size_t d_head, uint32_t slot, void* k);
  void (*write_v)(KvType type, const float* x, size_t d_head, uint32_t slot, void* v);
  // Copies what lies in a slot, bit for bit. n_slot of the cache does not matter.
  void (*copy_k)(KvType type, size_t d_head, uint32_t from, uint32_t to, void* k);
  void (*copy_v)(KvType type, size_t d_head, uint32_t from, uint32_t to, void* v);

  size_t (*scratch_bytes)(size_t d_head, size_t n_head);
  // Rows that share one reading of the cache: what a thread should claim at a time.
  size_t (*tile_rows)(size_t n_head);

  void (*run)(const AttentionArgs& args);

  // For few rows over a long context, the same bits as `run`: run_split of each split that any row
  // touches, then merge. A split is position / 1024. `partials` holds partial_bytes(d_head, n_head)
  // for each row of each split from first_split on, split-major; splits without positions of a row
  // leave that row's place alone.
  size_t (*partial_bytes)(size_t d_head, size_t n_head);
  void (*run_split)(const AttentionArgs& args, uint32_t split, uint32_t first_split,
                    void* partials);
  void (*merge)(const AttentionArgs& args, uint32_t first_split, const void* partials);
};

}  // namespace splitd::kernels

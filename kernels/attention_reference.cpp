// Owns: what attention means: scalar, in f64, with the splits of the contract so that any division
// of the work gives the same bits here too. Writing and copying are exact on every instruction set.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernels.h"
#include "runtime/base/float16.h"

namespace splitd::kernels {
namespace {

constexpr size_t kStrip = 16, kGroup = 32;

size_t element_bytes(KvType type) {
  return type == KvType::f32 ? 4 : type == KvType::q8 ? 1 : 2;
}

// Where element i of a slot lies, and in q8 the scale of its group: K in strips of 16 slots (q8:
// the 16 scales of a group before its values), V row after row (q8: the scales after the values).
struct Place {
  size_t element;
  size_t scale;
};

Place k_place(KvType type, size_t d_head, size_t slot, size_t i) {
  const size_t strip = slot / kStrip, lane = slot % kStrip;
  const size_t start = strip * kv_k_bytes(type, d_head, kStrip);
  if (type != KvType::q8) return {start + (i * kStrip + lane) * element_bytes(type), 0};
  const size_t group = start + i / kGroup * (kStrip * 2 + kGroup * kStrip);
  return {group + kStrip * 2 + i % kGroup * kStrip + lane, group + lane * 2};
}

Place v_place(KvType type, size_t d_head, size_t slot, size_t i) {
  const size_t start = slot * kv_v_bytes(type, d_head, 1);
  const size_t padded = (d_head + kStrip - 1) / kStrip * kStrip;
  return {start + i * element_bytes(type), start + padded + i / kGroup * 2};
}

using PlaceOf = Place (*)(KvType type, size_t d_head, size_t slot, size_t i);

f16 read_f16(const std::byte* p) {
  f16 value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

double read(KvType type, const void* cache, Place place) {
  const std::byte* p = static_cast<const std::byte*>(cache) + place.element;
  switch (type) {
    case KvType::f32: {
      float x;
      std::memcpy(&x, p, sizeof x);
      return x;
    }
    case KvType::f16:
      return to_f32(read_f16(p));
    case KvType::bf16:
      return to_f32(bf16{read_f16(p).bits});
    case KvType::q8: {
      const f16 scale = read_f16(static_cast<const std::byte*>(cache) + place.scale);
      return double{to_f32(scale)} * static_cast<int8_t>(*p);
    }
  }
  return 0;
}

void write_q8(const float* x, size_t d_head, uint32_t slot, void* cache, PlaceOf place_of) {
  std::byte* bytes = static_cast<std::byte*>(cache);
  for (size_t first = 0; first < d_head; first += kGroup) {
    const size_t end = first + kGroup < d_head ? first + kGroup : d_head;
    float top = 0;
    bool finite = true;
    for (size_t i = first; i < end; ++i) {
      top = std::fmax(top, std::fabs(x[i]));
      finite = finite && std::isfinite(x[i]);
    }
    const f16 rounded = finite ? to_f16(top / 127.0f) : f16{0x7e00};
    const float scale = to_f32(rounded);
    std::memcpy(bytes + place_of(KvType::q8, d_head, slot, first).scale, &rounded, 2);
    for (size_t i = first; i < end; ++i) {
      const float ratio = scale > 0 && std::isfinite(scale) ? std::nearbyint(x[i] / scale) : 0.0f;
      const float q = ratio < -127 ? -127.0f : ratio > 127 ? 127.0f : ratio;
      bytes[place_of(KvType::q8, d_head, slot, i).element] =
          static_cast<std::byte>(static_cast<int8_t>(q));
    }
  }
}

void write(KvType type, const float* x, size_t d_head, uint32_t slot, void* cache,
           PlaceOf place_of) {
  if (type == KvType::q8) return write_q8(x, d_head, slot, cache, place_of);
  for (size_t i = 0; i < d_head; ++i) {
    std::byte* to = static_cast<std::byte*>(cache) + place_of(type, d_head, slot, i).element;
    if (type == KvType::f32) {
      std::memcpy(to, x + i, 4);
    } else {
      const uint16_t bits = type == KvType::f16 ? to_f16(x[i]).bits : to_bf16(x[i]).bits;
      std::memcpy(to, &bits, 2);
    }
  }
}

void write_k(KvType type, const float* x, size_t d_head, uint32_t slot, void* k) {
  write(type, x, d_head, slot, k, k_place);
}
void write_v(KvType type, const float* x, size_t d_head, uint32_t slot, void* v) {
  write(type, x, d_head, slot, v, v_place);
}

void copy_k(KvType type, size_t d_head, uint32_t from, uint32_t to, void* k) {
  std::byte* bytes = static_cast<std::byte*>(k);
  for (size_t i = 0; i < d_head; ++i) {
    const Place source = k_place(type, d_head, from, i), target = k_place(type, d_head, to, i);
    std::memcpy(bytes + target.element, bytes + source.element, element_bytes(type));
    if (type == KvType::q8) std::memcpy(bytes + target.scale, bytes + source.scale, 2);
  }
}
void copy_v(KvType type, size_t d_head, uint32_t from, uint32_t to, void* v) {
  const size_t row_bytes = kv_v_bytes(type, d_head, 1);
  std::byte* bytes = static_cast<std::byte*>(v);
  std::memmove(bytes + to * row_bytes, bytes + from * row_bytes, row_bytes);
}

// One query head's part of one split, or of several merged: m, sum, acc[d_head].
struct Part {
  double* data;
  double& m() const { return data[0]; }
  double& sum() const { return data[1]; }
  double* acc() const { return data + 2; }
};

size_t part_doubles(size_t d_head) {
  return 2 + d_head;
}

uint32_t slot_of(const AttentionRow& row, uint32_t position, uint32_t ring) {
  return position < row.n_committed ? position % ring : row.path[position - row.n_committed];
}

double score(const AttentionArgs& args, const float* q, uint32_t slot) {
  double dot = 0;
  for (size_t i = 0; i < args.d_head; ++i) {
    dot += q[i] * read(args.type, args.k, k_place(args.type, args.d_head, slot, i));
  }
  dot *= args.scale;
  if (std::isinf(static_cast<float>(dot))) return std::numeric_limits<double>::quiet_NaN();
  return args.softcap > 0 ? args.softcap * std::tanh(dot / args.softcap) : dot;
}

void add_position(const AttentionArgs& args, const float* q, uint32_t slot, Part part) {
  const double s = score(args, q, slot);
  const double m = s > part.m() ? s : part.m();
  const double keep = std::exp(part.m() - m), p = std::exp(s - m);
  part.m() = m;
  part.sum() = part.sum() * keep + p;
  for (size_t i = 0; i < args.d_head; ++i) {
    const double v = read(args.type, args.v, v_place(args.type, args.d_head, slot, i));
    part.acc()[i] = part.acc()[i] * keep + p * v;
  }
}

// Positions [first, last] of one split.
void attend(const AttentionArgs& args, const AttentionRow& row, size_t head, uint32_t first,
            uint32_t last, Part part) {
  part.m() = -std::numeric_limits<double>::max();
  for (size_t i = 1; i < part_doubles(args.d_head); ++i) part.data[i] = 0;
  for (uint32_t offset = 0; offset <= last - first; ++offset) {
    const uint32_t slot = slot_of(row, first + offset, args.ring);
    add_position(args, row.q + head * args.d_head, slot, part);
  }
}

void merge_part(Part into, const double* data, size_t d_head) {
  const double m = data[0] > into.m() ? data[0] : into.m();
  const double keep = std::exp(into.m() - m), take = std::exp(data[0] - m);
  into.m() = m;
  for (size_t i = 1; i < part_doubles(d_head); ++i) {
    into.data[i] = into.data[i] * keep + data[i] * take;
  }
}

void finish(Part part, size_t d_head, float* out) {
  for (size_t i = 0; i < d_head; ++i) {
    out[i] = static_cast<float>(part.acc()[i] / part.sum());
  }
}

uint32_t split_first(const AttentionRow& row, uint32_t split) {
  const uint32_t start = split * kAttentionSplit;
  return row.lo > start ? row.lo : start;
}
uint32_t split_last(const AttentionRow& row, uint32_t split) {
  const uint32_t end = split * kAttentionSplit + (kAttentionSplit - 1);
  return row.position < end ? row.position : end;
}
bool touches(const AttentionRow& row, uint32_t split) {
  return row.lo / kAttentionSplit <= split && split <= row.position / kAttentionSplit;
}

size_t scratch_bytes(size_t d_head, size_t) {
  return 2 * part_doubles(d_head) * sizeof(double);
}
size_t tile_rows(size_t) {
  return 1;
}

void run(const AttentionArgs& args) {
  const Part merged{static_cast<double*>(args.scratch)};
  const Part part{merged.data + part_doubles(args.d_head)};
  for (size_t i = 0; i < args.n_row; ++i) {
    const AttentionRow& row = args.rows[i];
    for (size_t head = 0; head < args.n_head; ++head) {
      const uint32_t first = row.lo / kAttentionSplit, last = row.position / kAttentionSplit;
      for (uint32_t split = first; split <= last; ++split) {
        const Part target = split == first ? merged : part;
        attend(args, row, head, split_first(row, split), split_last(row, split), target);
        if (split != first) merge_part(merged, part.data, args.d_head);
      }
      finish(merged, args.d_head, row.out + head * args.d_head);
    }
  }
}

size_t partial_bytes(size_t d_head, size_t n_head) {
  return n_head * part_doubles(d_head) * sizeof(double);
}

size_t part_index(const AttentionArgs& args, uint32_t split, size_t row, size_t head) {
  return ((split * args.n_row + row) * args.n_head + head) * part_doubles(args.d_head);
}

void run_split(const AttentionArgs& args, uint32_t split, uint32_t first_split, void* partials) {
  for (size_t i = 0; i < args.n_row; ++i) {
    const AttentionRow& row = args.rows[i];
    if (!touches(row, split)) continue;
    for (size_t head = 0; head < args.n_head; ++head) {
      double* data =
          static_cast<double*>(partials) + part_index(args, split - first_split, i, head);
      attend(args, row, head, split_first(row, split), split_last(row, split), Part{data});
    }
  }
}

void merge(const AttentionArgs& args, uint32_t first_split, const void* partials) {
  const double* parts = static_cast<const double*>(partials);
  const Part merged{static_cast<double*>(args.scratch)};
  for (size_t i = 0; i < args.n_row; ++i) {
    const AttentionRow& row = args.rows[i];
    const uint32_t first = row.lo / kAttentionSplit, last = row.position / kAttentionSplit;
    for (size_t head = 0; head < args.n_head; ++head) {
      for (uint32_t split = first; split <= last; ++split) {
        const double* part = parts + part_index(args, split - first_split, i, head);
        if (split == first) {
          std::memcpy(merged.data, part, part_doubles(args.d_head) * sizeof(double));
        } else {
          merge_part(merged, part, args.d_head);
        }
      }
      finish(merged, args.d_head, row.out + head * args.d_head);
    }
  }
}

}  // namespace

void add_attention_reference(AttentionKernels& table) {
  table.write_k = write_k;
  table.write_v = write_v;
  table.copy_k = copy_k;
  table.copy_v = copy_v;
  table.scratch_bytes = scratch_bytes;
  table.tile_rows = tile_rows;
  table.run = run;
  table.partial_bytes = partial_bytes;
  table.run_split = run_split;
  table.merge = merge;
}

}  // namespace splitd::kernels

#include "runtime/engine/kv_room.h"

#include <string>

namespace splitd {

uint64_t kv_bytes(std::span<const Backend* const> backends, const KvShape& shape) {
  uint64_t bytes = 0;
  for (const Backend* backend : backends) bytes += backend->kv_bytes(shape);
  return bytes;
}

// The most rows of which the KV takes no more than `available`; 0: none.
static uint32_t most_rows(std::span<const Backend* const> backends, KvShape shape,
                          uint64_t available) {
  uint32_t fits = 0, too_many = shape.n_ctx;
  while (too_many - fits > 1) {
    shape.n_ctx = fits + (too_many - fits) / 2;
    (kv_bytes(backends, shape) <= available ? fits : too_many) = shape.n_ctx;
  }
  return fits;
}

static std::string mib(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

Status check_kv_room(std::span<const Backend* const> backends, const KvShape& shape,
                     uint64_t available) {
  const uint64_t needed = kv_bytes(backends, shape);
  if (available == 0 || needed <= available) return {};
  std::string what = "the KV cache of " + std::to_string(shape.n_ctx) + " rows takes " +
                     mib(needed) + ", " + mib(available) + " are available: ";
  const uint32_t rows = most_rows(backends, shape, available);
  std::string fits = rows == 0 ? "" : "--ctx " + std::to_string(rows);
  if (shape.type != KvType::q8) {
    KvShape small = shape;
    small.type = KvType::q8;
    const uint64_t least = kv_bytes(backends, small);
    const uint32_t small_rows =
        least <= available ? shape.n_ctx : most_rows(backends, small, available);
    if (small_rows != 0) {
      fits += fits.empty() ? "--kv q8" : " fits, or --kv q8";
      if (least <= available) {
        fits += ", which takes " + mib(least);
      } else {
        fits += " with --ctx " + std::to_string(small_rows);
      }
    }
  }
  if (fits.empty()) return failed(what + "no context fits");
  return failed(what + fits + (fits.ends_with("MiB") ? "" : " fits"));
}

}  // namespace splitd

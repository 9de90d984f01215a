// One pass over memory, behind read_probe.h.
#include "tools/measure/read_probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace splitd::cli {
namespace {

// A thread reads so much in a row, and the next piece follows at once: a page's end costs nothing
// beside it, and a thread that was put aside holds up little.
constexpr size_t kPieceBytes = size_t{4} << 20;

struct Bytes16 {
  using Vec = uint64_t __attribute__((vector_size(16), may_alias));
};
struct Bytes32 {
  using Vec = uint64_t __attribute__((vector_size(32), may_alias));
};
struct Bytes64 {
  using Vec = uint64_t __attribute__((vector_size(64), may_alias));
};

// The sum of a piece. The widest loads of the machine: no other reading should be faster.
template <class Width>
__attribute__((always_inline)) inline uint64_t sum_of(const std::byte* from) {
  using Vec = typename Width::Vec;
  Vec sums[4] = {};
  const auto* at = reinterpret_cast<const Vec*>(from);
  for (const Vec* end = at + kPieceBytes / sizeof(Vec); at != end; at += 4) {
    sums[0] += at[0];
    sums[1] += at[1];
    sums[2] += at[2];
    sums[3] += at[3];
  }
  sums[0] += sums[1] + sums[2] + sums[3];
  uint64_t sum = 0;
  for (size_t i = 0; i < sizeof(Vec) / sizeof(uint64_t); ++i) sum += sums[0][i];
  return sum;
}

uint64_t sum_plain(const std::byte* from) {
  return sum_of<Bytes16>(from);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t sum_avx2(const std::byte* from) {
  return sum_of<Bytes32>(from);
}
__attribute__((target("avx512f"))) uint64_t sum_avx512(const std::byte* from) {
  return sum_of<Bytes64>(from);
}
#endif

uint64_t sum_of_piece(const std::byte* from) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return sum_avx512(from);
  if (__builtin_cpu_supports("avx2")) return sum_avx2(from);
#endif
  return sum_plain(from);
}

}  // namespace

uint64_t ReadProbe::default_bytes(uint64_t largest_cache) {
  constexpr uint64_t kLeast = uint64_t{256} << 20, kMost = uint64_t{2} << 30;
  return std::clamp(8 * std::min(largest_cache, kMost), kLeast, kMost);
}

ReadProbe::ReadProbe(ThreadPool& pool, uint64_t bytes)
    : pool_(pool), bytes_((bytes + kPieceBytes - 1) / kPieceBytes * kPieceBytes) {
  area_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!ok()) return;
  (void)::madvise(area_, bytes_, MADV_HUGEPAGE);
  pool_.run(static_cast<uint32_t>(bytes_ / kPieceBytes), [&](uint32_t piece, uint32_t) {
    std::memset(static_cast<std::byte*>(area_) + piece * kPieceBytes, 1, kPieceBytes);
  });
}

ReadProbe::~ReadProbe() {
  if (ok()) ::munmap(area_, bytes_);
}

double ReadProbe::read() {
  const auto began = std::chrono::steady_clock::now();
  pool_.run(static_cast<uint32_t>(bytes_ / kPieceBytes), [&](uint32_t piece, uint32_t) {
    const auto* from = static_cast<const std::byte*>(area_) + piece * kPieceBytes;
    sink_ += sum_of_piece(from);
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  return static_cast<double>(bytes_) / took.count();
}

}  // namespace splitd::cli

// Files → panels, piece by piece, behind cpu_panels.h. A piece is read (from a disk: while the one
// before it is laid out), laid out by all threads, and given back, so that no moment needs more
// than the panels and two pieces.
#include "runtime/engine/cpu_panels.h"

#include <sys/mman.h>

#include <algorithm>

#include "kernels/quantised.h"

namespace splitd {
namespace {

constexpr size_t kPieceBytes = size_t{16} << 20;
constexpr size_t kClaimBytes = size_t{256} << 10;
constexpr size_t kAlign = 64;

// Panels [begin, end) of a matrix.
struct Piece {
  const CpuMatrix* matrix;
  std::byte* to;  // where the matrix's first panel goes
  size_t begin, end;

  size_t row_bytes() const { return kernels::row_bytes(matrix->type, matrix->k); }
  const std::byte* from() const {
    return static_cast<const std::byte*>(matrix->data) + begin * kernels::kPanelRows * row_bytes();
  }
  size_t bytes() const {
    const size_t last = std::min(matrix->n, end * kernels::kPanelRows);
    return (last - begin * kernels::kPanelRows) * row_bytes();
  }
};

size_t panels_of(const CpuMatrix& matrix) {
  return (matrix.n + kernels::kPanelRows - 1) / kernels::kPanelRows;
}
size_t room_of(const CpuMatrix& matrix) {
  const size_t bytes = kernels::panel_bytes(matrix.type, matrix.n, matrix.k);
  return (bytes + kAlign - 1) / kAlign * kAlign;
}
bool has_panels(const CpuMatrix& matrix) {
  return matrix.data != nullptr && kernels::panel_type(matrix.type) != matrix.type;
}

}  // namespace

void CpuPanels::Unmap::operator()(std::byte* data) const {
  ::munmap(data, bytes);
}

CpuPanels::Area CpuPanels::reserve(size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return {};
  ::madvise(data, bytes, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(data), Unmap{bytes}};
}

void CpuPanels::advise(const std::byte* from, size_t bytes, MappedFile::Advice advice) const {
  for (const MappedFile& file : files_) {
    const std::span<const std::byte> all = file.bytes();
    const auto at = reinterpret_cast<uintptr_t>(from) - reinterpret_cast<uintptr_t>(all.data());
    if (!all.empty() && at < all.size()) return file.advise(at, bytes, advice);
  }
}

Status CpuPanels::fill(std::span<CpuMatrix* const> matrices, std::byte* to,
                       const ProgressFn& progress) {
  std::vector<Piece> pieces;
  uint64_t done = 0, total = 0;
  for (const CpuMatrix* matrix : matrices) {
    const size_t panel = kernels::kPanelRows * kernels::row_bytes(matrix->type, matrix->k);
    const size_t step = std::max<size_t>(1, kPieceBytes / panel), end = panels_of(*matrix);
    for (size_t at = 0; at < end; at += step) {
      pieces.push_back({matrix, to, at, std::min(end, at + step)});
      total += pieces.back().bytes();
    }
    to += room_of(*matrix);
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    if (i + 1 < pieces.size()) {
      advise(pieces[i + 1].from(), pieces[i + 1].bytes(), MappedFile::Advice::will_need);
    }
    advise(piece.from(), piece.bytes(), MappedFile::Advice::read_now);
    const CpuMatrix& matrix = *piece.matrix;
    const size_t claim =
        std::max<size_t>(1, kClaimBytes / (kernels::kPanelRows * piece.row_bytes()));
    const size_t n_claim = (piece.end - piece.begin + claim - 1) / claim;
    pool_.run(static_cast<uint32_t>(n_claim), [&](uint32_t n, uint32_t) {
      const size_t begin = piece.begin + n * claim;
      kernels::lay_out_panels(matrix.type, matrix.data, matrix.n, matrix.k, begin,
                              std::min(piece.end, begin + claim), piece.to);
    });
    advise(piece.from(), piece.bytes(), MappedFile::Advice::dont_need);
    done += piece.bytes();
    if (progress && !progress({"weights", done, total})) {
      return Error{ErrorKind::interrupted, "interrupted"};
    }
  }
  return {};
}

Status CpuPanels::lay_out(std::span<CpuMatrix* const> matrices, const ProgressFn& progress) {
  const auto key_of = [](const CpuMatrix& matrix) { return std::pair(matrix.data, matrix.n); };
  std::vector<CpuMatrix*> wanted;
  size_t bytes = 0;
  for (CpuMatrix* matrix : matrices) {
    if (!has_panels(*matrix)) continue;
    if (const auto known = laid_out_.find(key_of(*matrix)); known != laid_out_.end()) {
      *matrix = known->second;
      continue;
    }
    bytes += room_of(*matrix);
    wanted.push_back(matrix);
  }
  if (wanted.empty()) return {};
  // An eighth stays for what a session needs. What the page cache holds counts as available.
  const uint64_t available = available_();
  if (available != 0 && bytes > available - available / 8) return {};
  Area area = reserve(bytes);
  if (area == nullptr) return {};
  // As they lie in the files.
  std::sort(wanted.begin(), wanted.end(),
            [](const CpuMatrix* a, const CpuMatrix* b) { return a->data < b->data; });
  SPLITD_TRY(fill(wanted, area.get(), progress));
  std::byte* at = area.get();
  for (CpuMatrix* matrix : wanted) {
    const size_t room = room_of(*matrix);
    CpuMatrix& out = laid_out_[key_of(*matrix)];
    out = *matrix;
    out.data = at;
    out.type = kernels::panel_type(matrix->type);
    *matrix = out;
    at += room;
  }
  areas_.push_back(std::move(area));
  bytes_ += bytes;
  return {};
}

}  // namespace splitd

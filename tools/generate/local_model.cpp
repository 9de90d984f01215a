#include "tools/generate/local_model.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/quantised.h"
#include "kernels/select.h"
#include "runtime/base/checked.h"
#include "runtime/base/memory.h"

namespace splitd::cli {

Result<std::unique_ptr<LocalModel>> LocalModel::open(const std::string& path,
                                                     const EngineOptions& options) {
  const char* isa = std::getenv("SPLITD_ISA");
  SPLITD_ASSIGN(const kernels::KernelTable* table,
                kernels::select_table(isa == nullptr ? "" : isa));
  SPLITD_ASSIGN(ModelFiles files, ModelFiles::open(path));
  return std::unique_ptr<LocalModel>(new LocalModel(std::move(files), options, *table));
}

Result<std::unique_ptr<Backend>> LocalModel::backend(const ModelPart& part) {
  SPLITD_ASSIGN(ModelWeights weights, files_.weights(part.layers, part.embedding, part.head));
  weights_.push_back(std::move(weights));
  return backend(weights_.back(), options_.exact);
}

Result<std::unique_ptr<Backend>> LocalModel::backend(const ModelWeights& weights, bool exact) {
  return make_backend(options_.device, config(), weights,
                      {.table = &table_,
                       .pool = &pool_,
                       .exact = exact,
                       .panels = &panels_,
                       .progress = options_.progress});
}

uint64_t LocalModel::in_file_bytes(LayerRange layers) const {
  uint64_t bytes = 0;
  for (uint32_t layer = layers.begin; layer < layers.end; ++layer) {
    for (const FileRange& range : files_.layer_ranges(layer)) bytes += range.end - range.begin;
  }
  return bytes - std::min(bytes, panels_.bytes());
}

// What is computed with where it lies in the files. Of an embedding that is not the head too, only
// the rows of the text's tokens are ever read.
std::vector<FileRange> LocalModel::byte_ranges(CpuWeights& weights) const {
  const std::vector<MappedFile>& files = files_.files().files();
  std::vector<FileRange> out;
  for (const CpuMatrix* matrix : weights.matrices()) {
    for (uint32_t i = 0; i < files.size(); ++i) {
      const std::span<const std::byte> all = files[i].bytes();
      const auto begin =
          reinterpret_cast<uintptr_t>(matrix->data) - reinterpret_cast<uintptr_t>(all.data());
      const size_t bytes = matrix->n * kernels::row_bytes(matrix->type, matrix->k);
      if (range_fits(begin, bytes, all.size())) out.push_back({i, begin, begin + bytes});
    }
  }
  return out;
}

Status LocalModel::read_ahead(const ModelPart& part, const ProgressFn& progress) {
  // A bar that moves, and few enough calls.
  constexpr uint64_t kPiece = uint64_t{16} << 20;
  if (options_.device.is_cuda) return {};  // uploading reads them once, in order
  SPLITD_ASSIGN(const ModelWeights views, files_.weights(part.layers, part.embedding, part.head));
  SPLITD_ASSIGN(CpuWeights weights, CpuWeights::make(config(), views));
  if (!options_.exact) SPLITD_TRY(weights.lay_out(panels_, progress));
  std::vector<FileRange> pieces;
  uint64_t total = 0;
  for (const FileRange& range : byte_ranges(weights)) {
    for (uint64_t at = range.begin; at < range.end; at += kPiece) {
      pieces.push_back({range.file, at, std::min(at + kPiece, range.end)});
    }
    total += range.end - range.begin;
  }
  if (total > available_memory_bytes()) return {};  // reading ahead would push out what it read
  const auto advise = [&](const FileRange& piece, MappedFile::Advice advice) {
    files_.files().files()[piece.file].advise(piece.begin, piece.end - piece.begin, advice);
  };
  uint64_t done = 0;
  for (const FileRange& piece : pieces) {
    advise(piece, MappedFile::Advice::read_now);
    done += piece.end - piece.begin;
    if (progress && !progress({"weights", done, total})) {
      return Error{ErrorKind::interrupted, "interrupted"};
    }
  }
  return {};
}

Result<uint32_t> LocalModel::context(uint64_t n_row) const {
  constexpr uint64_t kMostRows = 2'000'000'000;  // of a session, with its pending ones
  const uint64_t most = std::min(config().n_ctx, kMostRows);
  const uint64_t rows = options_.n_ctx != 0 ? options_.n_ctx : std::min(n_row, most);
  if (rows <= most) return static_cast<uint32_t>(rows);
  return usage_error("--ctx: " + std::to_string(rows) + "; the model was made for " +
                     std::to_string(most));
}

}  // namespace splitd::cli

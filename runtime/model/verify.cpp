#include "runtime/model/verify.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "runtime/model/formats/quantised.h"

namespace splitd {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{4} << 20;

// Where a type keeps what can be infinite: fields of `field_bytes` at these offsets in each block.
struct FloatLayout {
  uint32_t block_bytes = 0;
  uint32_t field_bytes = 0;
  uint64_t mask = 0;  // of one field: a field with all of these bits set is not finite
  std::vector<uint32_t> offsets;
};

FloatLayout panel_layout(uint32_t row_block) {
  FloatLayout layout{row_block * static_cast<uint32_t>(kQuantPanel), 2, 0x7c00, {}};
  for (uint32_t row = 0; row < kQuantPanel; ++row) {
    layout.offsets.push_back(layout.block_bytes - 2 * (static_cast<uint32_t>(kQuantPanel) - row));
  }
  return layout;
}

// Nothing for integers.
std::optional<FloatLayout> layout_of(DType dtype) {
  const uint32_t block = dtype_info(dtype).block_bytes;
  switch (dtype) {
    case DType::f8_e4m3:  // no infinities, one NaN a sign
      return FloatLayout{block, 1, 0x7f, {0}};
    case DType::f8_e5m2:
      return FloatLayout{block, 1, 0x7c, {0}};
    case DType::f16:
      return FloatLayout{block, 2, 0x7c00, {0}};
    case DType::bf16:
      return FloatLayout{block, 2, 0x7f80, {0}};
    case DType::f32:
      return FloatLayout{block, 4, 0x7f800000, {0}};
    case DType::f64:
      return FloatLayout{block, 8, 0x7ff0000000000000, {0}};
    case DType::q4_0:
    case DType::q5_0:
    case DType::q8_0:
      return FloatLayout{block, 2, 0x7c00, {0}};
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      return FloatLayout{block, 2, 0x7c00, {0, 2}};
    case DType::q6_k:
      return FloatLayout{block, 2, 0x7c00, {block - 2}};
    case DType::q8:  // a group of 16 rows: their quants, then their scales
    case DType::q4:
      return panel_layout(block);
    default:
      return std::nullopt;
  }
}

uint64_t load_field(const std::byte* data, uint32_t bytes) {
  uint64_t value = 0;
  std::memcpy(&value, data, bytes);  // little-endian
  return value;
}

// Whether any of the fields that fill `data` has all bits of the mask.
template <class Field>
bool any_full(const std::byte* data, uint64_t n_bytes, Field mask) {
  // 16 bytes are a register on every machine; nothing branches until the end.
  using Fields [[gnu::vector_size(16)]] = Field;
  const Fields masks = Fields{} + mask;
  Fields hits[4] = {};
  uint64_t at = 0;
  for (; at + 64 <= n_bytes; at += 64) {
    Fields fields[4];
    std::memcpy(fields, data + at, 64);
    for (int i = 0; i < 4; ++i) hits[i] |= Fields((fields[i] & masks) == masks);
  }
  bool found = false;
  for (const Fields& hit : hits) {
    for (uint64_t i = 0; i < 16 / sizeof(Field); ++i) found = found || hit[i] != 0;
  }
  for (; at < n_bytes; at += sizeof(Field)) {
    found = found || (load_field(data + at, sizeof(Field)) & mask) == mask;
  }
  return found;
}

bool any_full_field(const std::byte* data, uint64_t n_bytes, uint32_t field_bytes, uint64_t mask) {
  switch (field_bytes) {
    case 1:
      return any_full(data, n_bytes, static_cast<uint8_t>(mask));
    case 2:
      return any_full(data, n_bytes, static_cast<uint16_t>(mask));
    case 4:
      return any_full(data, n_bytes, static_cast<uint32_t>(mask));
    default:
      return any_full(data, n_bytes, mask);
  }
}

bool is_bad_block(const std::byte* block, const FloatLayout& layout) {
  return std::any_of(layout.offsets.begin(), layout.offsets.end(), [&](uint32_t offset) {
    return (load_field(block + offset, layout.field_bytes) & layout.mask) == layout.mask;
  });
}

// The same for the 16-bit scales of many blocks.
bool any_bad_block(const std::byte* data, uint64_t n_bytes, const FloatLayout& layout) {
  uint32_t bad = 0;
  for (const uint32_t offset : layout.offsets) {
    for (uint64_t at = offset; at < n_bytes; at += layout.block_bytes) {
      uint16_t scale;
      std::memcpy(&scale, data + at, sizeof scale);
      bad |= (scale & 0x7c00u) == 0x7c00u;
    }
  }
  return bad != 0;
}

struct Piece {
  const TensorInfo* tensor;
  uint64_t begin;  // bytes from the tensor's start; whole blocks
  uint64_t bytes;
};

class Verifier {
 public:
  Verifier(const TensorFiles& files, const ProgressFn& progress)
      : files_(files), progress_(progress) {
    for (const TensorInfo& tensor : files.tensors()) {
      const std::optional<FloatLayout> layout = layout_of(tensor.dtype);
      if (!layout) {
        report_.skipped_bytes += tensor.bytes;
        continue;
      }
      report_.bytes += tensor.bytes;
      const uint64_t step =
          std::max<uint64_t>(1, kPieceBytes / layout->block_bytes) * layout->block_bytes;
      for (uint64_t begin = 0; begin < tensor.bytes; begin += step) {
        pieces_.push_back({&tensor, begin, std::min(step, tensor.bytes - begin)});
      }
    }
    // In the order of the files, so that a disk reads forward.
    std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
      if (a.tensor->file != b.tensor->file) return a.tensor->file < b.tensor->file;
      return a.tensor->begin + a.begin < b.tensor->begin + b.begin;
    });
  }

  Result<VerifyReport> run(uint32_t threads) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    const size_t useful = std::min<size_t>(threads, pieces_.size());
    for (size_t i = 1; i < useful; ++i) others.emplace_back([this] { work(false); });
    work(true);  // the calling thread reports
    for (std::thread& thread : others) thread.join();
    if (cancelled_) return Error{ErrorKind::interrupted, "interrupted"};
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (auto& [name, found] : found_) report_.non_finite.push_back(std::move(found));
    return std::move(report_);
  }

 private:
  void work(bool reports) {
    while (!cancelled_) {
      const size_t index = next_.fetch_add(1);
      if (index >= pieces_.size()) return;
      check(pieces_[index]);
      const uint64_t done = done_bytes_.fetch_add(pieces_[index].bytes) + pieces_[index].bytes;
      if (reports && progress_ && !progress_({pieces_[index].tensor->name, done, report_.bytes})) {
        cancelled_ = true;
      }
    }
  }

  void check(const Piece& piece) {
    const FloatLayout layout = *layout_of(piece.tensor->dtype);
    const std::byte* data = files_.view(*piece.tensor).data + piece.begin;
    map_pages(data, piece.bytes);
    const bool dense = layout.block_bytes == layout.field_bytes;
    const bool bad = dense ? any_full_field(data, piece.bytes, layout.field_bytes, layout.mask)
                           : any_bad_block(data, piece.bytes, layout);
    if (bad) count_bad(piece, data, layout);
    files_.files()[piece.tensor->file].advise(piece.tensor->begin + piece.begin, piece.bytes,
                                              MappedFile::Advice::dont_need);
  }

  // One call instead of a fault for every few pages.
  static void map_pages([[maybe_unused]] const std::byte* data, [[maybe_unused]] uint64_t bytes) {
#ifdef MADV_POPULATE_READ
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(data) + bytes;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ);
#endif
  }

  // The first value of a block, counted along the rows of the tensor.
  static uint64_t first_value(const TensorInfo& tensor, uint64_t block, const std::byte* data,
                              const FloatLayout& layout) {
    const DTypeInfo& info = dtype_info(tensor.dtype);
    if (!is_own_quantised(tensor.dtype)) return block * info.block_values;
    const uint64_t groups = tensor.shape.back() / kQuantGroup;
    uint64_t row = block / groups * kQuantPanel;
    for (const uint32_t offset : layout.offsets) {
      if ((load_field(data + offset, 2) & layout.mask) == layout.mask) break;
      ++row;
    }
    return row * tensor.shape.back() + block % groups * kQuantGroup;
  }

  void count_bad(const Piece& piece, const std::byte* data, const FloatLayout& layout) {
    uint64_t count = 0;
    uint64_t value = 0;
    for (uint64_t at = 0; at < piece.bytes; at += layout.block_bytes) {
      if (!is_bad_block(data + at, layout)) continue;
      if (count++ > 0) continue;
      const uint64_t block = (piece.begin + at) / layout.block_bytes;
      value = first_value(*piece.tensor, block, data + at, layout);
    }
    if (count == 0) return;
    const Shape& shape = piece.tensor->shape;
    const uint64_t columns = shape.empty() ? 1 : shape.back();
    const std::lock_guard lock(mutex_);
    NonFinite& found = found_[piece.tensor->name];
    const uint64_t row = value / columns;
    if (found.count == 0 || row < found.row ||
        (row == found.row && value % columns < found.column)) {
      found.row = row;
      found.column = value % columns;
    }
    found.tensor = piece.tensor->name;
    found.count += count;
  }

  const TensorFiles& files_;
  const ProgressFn& progress_;
  std::vector<Piece> pieces_;
  VerifyReport report_;
  std::atomic<size_t> next_{0};
  std::atomic<uint64_t> done_bytes_{0};
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::map<std::string, NonFinite> found_;  // guarded by mutex_
};

}  // namespace

Result<VerifyReport> verify_weights(const TensorFiles& files, uint32_t threads,
                                    const ProgressFn& progress) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  return Verifier(files, progress).run(threads);
}

}  // namespace splitd

// The model's fingerprint: DESIGN.md §6, spelled out in README.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "runtime/base/files.h"
#include "runtime/model/formats/dequantize.h"
#include "runtime/model/model_files.h"

namespace splitd {
namespace {

std::optional<Sha256Digest> parse_digest(std::string_view text) {
  Sha256Digest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int nibble = -1;
    if (c >= '0' && c <= '9') nibble = c - '0';
    if (c >= 'a' && c <= 'f') nibble = c - 'a' + 10;
    if (nibble < 0) return std::nullopt;
    const int high = i % 2 == 0 ? 0 : digest[i / 2] << 4;
    digest[i / 2] = static_cast<uint8_t>(high | nibble);
  }
  return digest;
}

// Reads small tensors apart from the maps: a page fault would bring, or at least map, hundreds of
// KiB around each of them.
class SmallReader {
 public:
  explicit SmallReader(const TensorFiles& files) : files_(files) {}

  Result<std::vector<std::byte>> read(const TensorInfo& tensor) {
    std::vector<std::byte> bytes(tensor.bytes);
    if (!read_apart(tensor, bytes)) SPLITD_TRY(files_.read(tensor, 0, bytes));
    return bytes;
  }

 private:
  bool read_apart(const TensorInfo& tensor, std::span<std::byte> bytes) {
    FileDescriptor& file = open_[tensor.file];
    const MappedFile& mapped = files_.files()[tensor.file];
    if (!file.valid()) {
      file = FileDescriptor(::open(mapped.path().c_str(), O_RDONLY | O_CLOEXEC));
      struct stat info {};
      // Another file may have taken the name since.
      if (!file.valid() || ::fstat(file.get(), &info) != 0 ||
          static_cast<uint64_t>(info.st_size) != mapped.size()) {
        file = FileDescriptor();
        return false;
      }
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM);
    }
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::pread(file.get(), bytes.data() + done, bytes.size() - done,
                                    static_cast<off_t>(tensor.begin + done));
      if (count <= 0) return false;
      done += static_cast<size_t>(count);
    }
    return true;
  }

  const TensorFiles& files_;
  std::map<uint32_t, FileDescriptor> open_;
};

// A norm as what rows are multiplied by (with the 1 added that some models add), as little-endian
// f32: the same bytes whatever it is stored as, with its 1 or without.
void hash_norm(const TensorInfo& tensor, std::span<const std::byte> stored, bool add_one,
               Sha256& hash) {
  std::vector<float> values(tensor.shape.empty() ? 1 : tensor.shape.back());
  dequantize(tensor.dtype, stored.data(), values.size(), values.data());
  std::string bytes;
  bytes.reserve(values.size() * 4);
  for (float value : values) {
    if (add_one) value += 1.0f;
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift);
  }
  hash.update(bytes);
}

}  // namespace

Result<Sha256Digest> ModelFiles::fingerprint() const {
  const auto stored = files().metadata().find(std::string(kFingerprintKey));
  if (!gguf_ && stored != files().metadata().end()) {
    const std::optional<Sha256Digest> digest = parse_digest(stored->second);
    if (digest) return *digest;
    return model_error(path_ + ": the metadata " + std::string(kFingerprintKey) + " is " +
                       quoted_name(stored->second) + "; accepted: 64 lower-case hex digits");
  }
  std::vector<std::pair<std::string, TensorSpec>> tensors;
  for (TensorSpec& spec : model_schema(config_)) {
    std::string name = hf_name(spec, config_);
    tensors.emplace_back(std::move(name), std::move(spec));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });

  Sha256 hash;
  hash.update("splitd model 1\n");
  hash.update(identity_config(config_));
  hash.update("\n");
  for (const auto& [name, spec] : tensors) hash.update(name + " " + shape_text(spec.shape) + "\n");
  const bool add_one = !gguf_ && config_.norm_plus_one;
  SmallReader reader(files());
  for (const auto& [name, spec] : tensors) {
    if (!is_norm(spec.slot)) continue;
    const TensorInfo& tensor = *find(spec)->tensor;
    SPLITD_ASSIGN(const std::vector<std::byte> stored_bytes, reader.read(tensor));
    hash_norm(tensor, stored_bytes, add_one, hash);
  }
  return hash.finish();
}

}  // namespace splitd

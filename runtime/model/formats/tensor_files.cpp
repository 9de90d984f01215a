// Opening safetensors: each file's header is read with pread and read-ahead off, then the file is
// mapped and left untouched.
#include "runtime/model/formats/tensor_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/files.h"

namespace splitd {
namespace {

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

struct OneFile {
  MappedFile file;
  SafetensorsHeader header;
};

Status read_at(const FileDescriptor& file, uint64_t begin, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t count = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(begin));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot read");
    if (count == 0) return failed("the file became shorter while it was read");
    begin += static_cast<uint64_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<SafetensorsHeader> read_header(const FileDescriptor& file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("cannot stat");
  const auto file_bytes = static_cast<uint64_t>(info.st_size);
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM);  // a hint: no read-ahead into the data

  std::array<std::byte, 8> first{};
  const std::span<std::byte> there =
      std::span(first).first(std::min<size_t>(first.size(), file_bytes));
  SPLITD_TRY(read_at(file, 0, there));
  SPLITD_ASSIGN(const uint64_t length, safetensors_header_bytes(there));
  // A length that lies reads nothing: the parser refuses it by the file's size.
  std::vector<std::byte> prefix(std::min<uint64_t>(first.size() + length, file_bytes));
  SPLITD_TRY(read_at(file, 0, prefix));
  return parse_safetensors_header(prefix, file_bytes);
}

Result<OneFile> open_one(const std::string& path, FileAccess access) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return system_error("cannot open " + path);
  Result<MappedFile> mapped = MappedFile::map(file, path, access);
  if (!mapped) return mapped.take_error();
  Result<SafetensorsHeader> header = read_header(file);
  if (!header) return header.take_error().within(path);
  return OneFile{std::move(*mapped), std::move(*header)};
}

// What a directory holds instead, to say more than "nothing found".
Error no_weights(const std::string& directory) {
  std::string hint;
  if (path_exists(directory + "/pytorch_model.bin") ||
      path_exists(directory + "/pytorch_model.bin.index.json")) {
    hint = "; pytorch_model.bin is not supported, only safetensors and GGUF are";
  } else if (path_exists(directory + "/consolidated.safetensors")) {
    hint = "; consolidated.safetensors has other tensor names and is not supported";
  }
  return model_error(directory + ": neither " + kSingleName + " nor " + kIndexName + " is there" +
                     hint);
}

// Each tensor of the index is in the shard that the index names.
Status check_index(const SafetensorsIndex& index, const TensorFiles& files) {
  for (const auto& [name, shard] : index.shard_of) {
    const TensorInfo* tensor = files.find(name);
    if (tensor == nullptr) {
      return model_error("tensor " + quoted_name(name) + " is not in " + shard +
                         ", where the index puts it");
    }
    const std::string& path = files.files()[tensor->file].path();
    if (path.substr(path.rfind('/') + 1) != shard) {
      return model_error("tensor " + quoted_name(name) + " is in " + path +
                         ", but the index puts it in " + shard);
    }
  }
  return {};
}

}  // namespace

Result<TensorFiles> TensorFiles::from_parts(std::vector<MappedFile> files,
                                            std::vector<TensorInfo> tensors) {
  TensorFiles out;
  out.files_ = std::move(files);
  out.tensors_ = std::move(tensors);
  for (const TensorInfo& tensor : out.tensors_) {
    if (tensor.file >= out.files_.size()) {
      return model_error("tensor " + quoted_name(tensor.name) + " lies in file " +
                         std::to_string(tensor.file) + " of " + std::to_string(out.files_.size()));
    }
    const MappedFile& file = out.files_[tensor.file];
    if (!range_fits(tensor.begin, tensor.bytes, file.size())) {
      return model_error(file.path() + ": tensor " + quoted_name(tensor.name) + " takes " +
                         std::to_string(tensor.bytes) + " bytes from byte " +
                         std::to_string(tensor.begin) + " of a file of " +
                         std::to_string(file.size()));
    }
  }
  std::sort(out.tensors_.begin(), out.tensors_.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(out.tensors_.begin(), out.tensors_.end(),
                         [](const TensorInfo& a, const TensorInfo& b) { return a.name == b.name; });
  if (twice != out.tensors_.end()) {
    return model_error("tensor " + quoted_name(twice->name) + " is in " +
                       out.files_[twice->file].path() + " and again in " +
                       out.files_[std::next(twice)->file].path());
  }
  return out;
}

static Result<TensorFiles> open_sharded(const std::string& directory, FileAccess access,
                                        std::map<std::string, std::string>& metadata) {
  const std::string index_path = directory + "/" + kIndexName;
  SPLITD_ASSIGN(const MappedFile index_file, MappedFile::open(index_path));
  Result<SafetensorsIndex> index = parse_safetensors_index(index_file.text());
  if (!index) return index.take_error().within(index_path);

  std::vector<MappedFile> files;
  std::vector<TensorInfo> tensors;
  for (const std::string& shard : index->shards) {
    const std::string path = directory + "/" + shard;
    if (!path_exists(path)) {
      return model_error(path + " is not there, but " + kIndexName + " names it (" +
                         std::to_string(files.size() + 1) + " of " +
                         std::to_string(index->shards.size()) + ")");
    }
    SPLITD_ASSIGN(OneFile one, open_one(path, access));
    for (TensorInfo& tensor : one.header.tensors) {
      tensor.file = static_cast<uint32_t>(files.size());
      tensors.push_back(std::move(tensor));
    }
    files.push_back(std::move(one.file));
    metadata.merge(one.header.metadata);  // the first shard's word stands
  }
  SPLITD_ASSIGN(TensorFiles out, TensorFiles::from_parts(std::move(files), std::move(tensors)));
  Status fits = check_index(*index, out);
  if (!fits.ok()) return fits.take_error().within(index_path);
  return out;
}

Result<TensorFiles> TensorFiles::open_safetensors(const std::string& path, FileAccess access) {
  std::string file = path;
  if (is_directory(path)) {
    file += std::string("/") + kSingleName;
    if (!path_exists(file)) {
      if (!path_exists(path + "/" + kIndexName)) return no_weights(path);
      std::map<std::string, std::string> metadata;
      SPLITD_ASSIGN(TensorFiles out, open_sharded(path, access, metadata));
      out.metadata_ = std::move(metadata);
      return out;
    }
  }
  SPLITD_ASSIGN(OneFile one, open_one(file, access));
  std::vector<MappedFile> files;
  files.push_back(std::move(one.file));
  SPLITD_ASSIGN(TensorFiles out, from_parts(std::move(files), std::move(one.header.tensors)));
  out.metadata_ = std::move(one.header.metadata);
  return out;
}

const TensorInfo* TensorFiles::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const TensorInfo& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

TensorView TensorFiles::view(const TensorInfo& tensor) const {
  const std::span<const std::byte> bytes = files_[tensor.file].bytes();
  if (!range_fits(tensor.begin, tensor.bytes, bytes.size())) {
    return {nullptr, tensor.dtype, tensor.shape, tensor.bytes};
  }
  return {bytes.data() + tensor.begin, tensor.dtype, tensor.shape, tensor.bytes};
}

void TensorFiles::advise(const TensorInfo& tensor, MappedFile::Advice advice) const {
  files_[tensor.file].advise(tensor.begin, tensor.bytes, advice);
}

Status TensorFiles::read(const TensorInfo& tensor, uint64_t offset,
                         std::span<std::byte> out) const {
  return files_[tensor.file].read(tensor.begin + offset, out);
}

void TensorFiles::reinterpret(const TensorInfo& tensor, DType dtype, Shape shape) {
  TensorInfo& own = tensors_[static_cast<size_t>(&tensor - tensors_.data())];
  own.dtype = dtype;
  own.shape = std::move(shape);
}

uint64_t TensorFiles::resident_bytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) total += file.resident_bytes();
  return total;
}

std::optional<uint64_t> TensorFiles::touched_bytes() const {
  uint64_t total = 0;
  for (const MappedFile& file : files_) {
    const std::optional<uint64_t> touched = file.touched_bytes();
    if (!touched) return std::nullopt;
    total += *touched;
  }
  return total;
}

}  // namespace splitd

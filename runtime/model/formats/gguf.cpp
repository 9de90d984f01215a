// Opening GGUF files, also a split set, and metadata by key.
#include "runtime/model/formats/gguf.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace splitd {
namespace {

struct OneFile {
  MappedFile file;
  GgufHeader header;
};

std::optional<GgufValue> find_entry(const std::vector<GgufHeader::Entry>& metadata,
                                    std::string_view key) {
  const auto at = std::lower_bound(
      metadata.begin(), metadata.end(), key,
      [](const GgufHeader::Entry& entry, std::string_view wanted) { return entry.key < wanted; });
  if (at == metadata.end() || at->key != key) return std::nullopt;
  return at->value;
}

// A header's length is known at its end: more and more of the file is mapped until it is there.
Result<OneFile> open_one(const std::string& path, FileAccess access) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return system_error("cannot open " + path);
  for (uint64_t head = uint64_t{4} << 20;; head *= 4) {
    SPLITD_ASSIGN(MappedFile mapped, MappedFile::map(file, path, access, head));
    Result<std::optional<GgufHeader>> header = parse_gguf_header(mapped.bytes(), mapped.size());
    if (!header) return header.take_error().within(path);
    if (*header) return OneFile{std::move(mapped), std::move(**header)};
  }
}

// "-00002-of-00005.gguf", counting from one.
std::string split_suffix(uint64_t number, uint64_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05llu-of-%05llu.gguf",
                static_cast<unsigned long long>(number), static_cast<unsigned long long>(count));
  return text;
}

// A count or number of the split.* keys; nothing when the key is absent.
Result<std::optional<uint64_t>> split_key(const OneFile& one, std::string_view key) {
  const std::optional<GgufValue> value = find_entry(one.header.metadata, key);
  if (!value) return std::optional<uint64_t>();
  const std::optional<uint64_t> number = value->to_u64();
  if (!number) {
    return model_error(one.file.path() + ": " + std::string(key) + " is " + value->describe() +
                       ", not an unsigned integer");
  }
  return number;
}

// 1 for a file that is no part of a set.
Result<uint64_t> split_count(const OneFile& one) {
  SPLITD_ASSIGN(const std::optional<uint64_t> count, split_key(one, "split.count"));
  if (count > kMaxGgufFiles) {
    return model_error(one.file.path() + ": split.count is " + std::to_string(*count) +
                       "; at most " + std::to_string(kMaxGgufFiles) + " are accepted");
  }
  return std::max<uint64_t>(1, count.value_or(1));
}

// The path without its suffix, when this is the first file of `count`.
Result<std::string> split_prefix(const OneFile& first, uint64_t count) {
  const std::string& path = first.file.path();
  SPLITD_ASSIGN(const std::optional<uint64_t> number, split_key(first, "split.no"));
  if (!number || *number >= count) {
    return model_error(path + ": split.count is " + std::to_string(count) + ", but split.no is " +
                       (number ? std::to_string(*number) : "missing"));
  }
  const std::string suffix = split_suffix(*number + 1, count);
  if (!path.ends_with(suffix)) {
    return model_error(path + ": the file is number " + std::to_string(*number + 1) + " of " +
                       std::to_string(count) + ", so its name must end with " + suffix);
  }
  std::string prefix = path.substr(0, path.size() - suffix.size());
  if (*number != 0) {
    return usage_error(path + ": name the first file of the set: " + prefix +
                       split_suffix(1, count));
  }
  return prefix;
}

void append(OneFile one, std::vector<MappedFile>& files, std::vector<TensorInfo>& tensors) {
  for (TensorInfo& tensor : one.header.tensors) {
    tensor.file = static_cast<uint32_t>(files.size());
    tensors.push_back(std::move(tensor));
  }
  files.push_back(std::move(one.file));
}

}  // namespace

Result<Gguf> Gguf::open(const std::string& path, FileAccess access) {
  SPLITD_ASSIGN(OneFile first, open_one(path, access));
  SPLITD_ASSIGN(const uint64_t count, split_count(first));
  std::string prefix;
  std::optional<uint64_t> n_tensors;
  if (count > 1) {
    SPLITD_ASSIGN(prefix, split_prefix(first, count));
    SPLITD_ASSIGN(n_tensors, split_key(first, "split.tensors.count"));
  }
  std::vector<GgufHeader::Entry> metadata = std::move(first.header.metadata);
  std::vector<MappedFile> files;
  std::vector<TensorInfo> tensors;
  append(std::move(first), files, tensors);
  for (uint64_t i = 1; i < count; ++i) {
    const std::string name = prefix + split_suffix(i + 1, count);
    if (!path_exists(name)) {
      return model_error(name + " is not there, but " + path + " is the first of " +
                         std::to_string(count) + " files");
    }
    SPLITD_ASSIGN(OneFile part, open_one(name, access));
    SPLITD_ASSIGN(const uint64_t part_count, split_count(part));
    SPLITD_ASSIGN(const std::optional<uint64_t> number, split_key(part, "split.no"));
    if (part_count != count || number != i) {
      return model_error(name + ": by its metadata it is no part " + std::to_string(i + 1) +
                         " of " + std::to_string(count));
    }
    append(std::move(part), files, tensors);
  }
  if (n_tensors && *n_tensors != tensors.size()) {
    return model_error(path + ": split.tensors.count is " + std::to_string(*n_tensors) +
                       ", but the " + std::to_string(count) + " files hold " +
                       std::to_string(tensors.size()));
  }
  // What was walked to find the tensors is needed again only by whoever asks for metadata. Whole
  // files, because the kernel maps huge pages around a touch.
  for (const MappedFile& file : files) file.advise(0, file.size(), MappedFile::Advice::dont_need);
  SPLITD_ASSIGN(TensorFiles all, TensorFiles::from_parts(std::move(files), std::move(tensors)));
  return Gguf(std::move(all), std::move(metadata));
}

std::optional<GgufValue> Gguf::find(std::string_view key) const {
  return find_entry(metadata_, key);
}

// The value of `key` as `convert` makes it of it.
template <class T, class Convert>
static Result<T> required(const Gguf& gguf, std::string_view key, std::string_view wanted,
                          Convert convert) {
  const std::string place = "metadata " + quoted_name(key);
  const std::optional<GgufValue> value = gguf.find(key);
  if (!value) return model_error(place + " is missing");
  std::optional<T> converted = convert(*value);
  if (!converted) {
    return model_error(place + " is " + value->describe() + ", not " + std::string(wanted));
  }
  return std::move(*converted);
}

Result<uint64_t> Gguf::u64(std::string_view key) const {
  return required<uint64_t>(*this, key, "an unsigned integer",
                            [](const GgufValue& value) { return value.to_u64(); });
}

Result<int64_t> Gguf::i64(std::string_view key) const {
  return required<int64_t>(*this, key, "an integer",
                           [](const GgufValue& value) { return value.to_i64(); });
}

Result<double> Gguf::f64(std::string_view key) const {
  return required<double>(*this, key, "a number",
                          [](const GgufValue& value) { return value.to_f64(); });
}

Result<bool> Gguf::boolean(std::string_view key) const {
  return required<bool>(*this, key, "a bool",
                        [](const GgufValue& value) { return value.to_bool(); });
}

Result<std::string_view> Gguf::string(std::string_view key) const {
  return required<std::string_view>(*this, key, "a string",
                                    [](const GgufValue& value) { return value.to_string(); });
}

Result<std::vector<std::string_view>> Gguf::strings(std::string_view key) const {
  return required<std::vector<std::string_view>>(
      *this, key, "an array of strings", [](const GgufValue& value) { return value.to_strings(); });
}

Result<std::vector<int64_t>> Gguf::i64s(std::string_view key) const {
  return required<std::vector<int64_t>>(*this, key, "an array of integers",
                                        [](const GgufValue& value) { return value.to_i64s(); });
}

Result<std::vector<float>> Gguf::f32s(std::string_view key) const {
  return required<std::vector<float>>(*this, key, "an array of f32",
                                      [](const GgufValue& value) { return value.to_f32s(); });
}

}  // namespace splitd

// Owns: the mapped weight files of one model (one safetensors file, a sharded set, or GGUF) and
// the names in them. Reads headers at open and nothing else until a view is touched.
// Const methods are thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/mapped_file.h"
#include "runtime/base/result.h"
#include "runtime/model/formats/safetensors.h"
#include "runtime/model/formats/tensor.h"

namespace splitd {

class TensorFiles {
 public:
  // A directory with model.safetensors or (only without it, as transformers does)
  // model.safetensors.index.json, or one .safetensors file. Every tensor of an index must lie in
  // the shard it names; tensors of a shard that the index forgets belong to the model.
  // With FileAccess::read only read() works, and views have no data.
  static Result<TensorFiles> open_safetensors(const std::string& path,
                                              FileAccess access = FileAccess::mapped);
  // For readers of other formats: files already mapped and their tensors, checked to fit.
  static Result<TensorFiles> from_parts(std::vector<MappedFile> files,
                                        std::vector<TensorInfo> tensors);

  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // ascending by name
  const std::vector<MappedFile>& files() const { return files_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  const TensorInfo* find(std::string_view name) const;  // nullptr if there is none
  TensorView view(const TensorInfo& tensor) const;
  void advise(const TensorInfo& tensor, MappedFile::Advice advice) const;
  // Bytes [offset, offset + out.size()) of a tensor, mapped or not.
  Status read(const TensorInfo& tensor, uint64_t offset, std::span<std::byte> out) const;
  // What a reader knows of a tensor better than the file's header. The bytes stay the same ones.
  void reinterpret(const TensorInfo& tensor, DType dtype, Shape shape);
  uint64_t resident_bytes() const;  // in memory, whoever read them; see MappedFile
  // Of these, what this process touched through the maps. Opening safetensors touches nothing: the
  // headers are read apart, without read-ahead. Nothing where the system does not tell.
  std::optional<uint64_t> touched_bytes() const;

 private:
  std::vector<MappedFile> files_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace splitd

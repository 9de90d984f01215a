// Owns: what the hub says a repository holds, and which of its files a model consists of. Pure
// functions over what came from outside: names that could leave a directory, numbers and hashes
// that are none, are refused here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

// API answers of repositories with 10,000 files are about 3 MB.
inline constexpr uint64_t kMaxRepoInfoBytes = uint64_t{32} << 20;

struct RepoFile {
  std::string name;              // in the repository; only plain ones are ever fetched
  std::optional<uint64_t> size;  // some mirrors do not state it
  std::string sha256;            // of what large-file storage holds; else empty
  std::string git_sha1;          // of what git itself holds; else empty
};

struct RepoInfo {
  std::string commit;
  std::vector<RepoFile> files;

  const RepoFile* find(std::string_view name) const;
};

// The answer to GET /api/models/{repo}/revision/{revision}?blobs=true.
[[nodiscard]] Result<RepoInfo> parse_repo_info(std::string_view json);

// A name that can only mean a file in the directory it is put in.
[[nodiscard]] bool is_plain_file_name(std::string_view name);

struct ModelFileNames {
  std::vector<std::string> config;     // config.json, generation_config.json
  std::vector<std::string> tokenizer;  // the tokenizer and the chat template
  std::string weights;                 // model.safetensors, or
  std::string index;                   // model.safetensors.index.json
};

// What to fetch of a repository; what is not there is left out. Refuses, with what is there
// instead, a repository without config.json or without safetensors that can be loaded.
[[nodiscard]] Result<ModelFileNames> choose_model_files(const RepoInfo& info);

}  // namespace splitd

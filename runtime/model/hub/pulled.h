// Owns: where pulled models lie, and what `org/name` means: the cache laid out by revision of
// README.md. Reads directories only; knows no network (a build without it has this file too).
// Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd {

// "org/name" or "org/name@revision", checked: the parts are safe as names of directories.
struct RepoSpec {
  std::string repo;      // "org/name"
  std::string revision;  // a branch, tag or commit; "main" where none was given
};
[[nodiscard]] Result<RepoSpec> parse_repo_spec(std::string_view text);

// Whether the text has the shape of one, so that a path that does not exist may have meant it.
[[nodiscard]] bool looks_like_repo(std::string_view text);

[[nodiscard]] bool is_commit(std::string_view revision);  // 40 lower-case hex digits

// $SPLITD_HOME/models, else $XDG_CACHE_HOME/splitd/models, else ~/.cache/splitd/models.
[[nodiscard]] Result<std::string> cache_directory();

// <cache>/org--name and what is in it.
[[nodiscard]] std::string repo_directory(const std::string& cache, const RepoSpec& spec);
[[nodiscard]] std::string ref_path(const std::string& cache, const RepoSpec& spec);
[[nodiscard]] std::string snapshots_path(const std::string& cache, const RepoSpec& spec);

// The directory (or the one .gguf file) of a finished pull: the whole model where it is there, else
// its only part. `model` is "org/name[@revision]". Fails with what to pull, or with the parts
// among which to choose.
[[nodiscard]] Result<std::string> find_pulled(std::string_view model);
[[nodiscard]] Result<std::string> find_pulled_in(const std::string& cache, const RepoSpec& spec);

}  // namespace splitd

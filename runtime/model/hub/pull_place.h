// Owns: where a pull works and where its result appears: the directory being filled, the lock on
// it, the manifest that says what a directory holds, and the rename at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/result.h"
#include "runtime/model/hub/pulled.h"

namespace splitd {

// What was pulled: splitd_pull.json in the finished directory.
struct PullManifest {
  std::string repo;
  std::string commit;
  std::string part;    // as PartRequest::name(), or "file-<name>"
  std::string layers;  // of a part
  uint32_t n_layer = 0;
  struct File {
    std::string name;
    uint64_t bytes = 0;
    std::string sha256;  // what the hub states of the file it came from
    std::string git_sha1;
  };
  std::vector<File> files;

  std::string json() const;
  static Result<PullManifest> read(const std::string& directory);
  bool same_pull(const PullManifest& other) const {
    return repo == other.repo && commit == other.commit && part == other.part;
  }
  // Whether every file is in the directory with its size.
  bool intact(const std::string& directory) const;
};

class PullPlace {
 public:
  // Takes the lock; another pull of the same model, or into the same directory, fails here.
  static Result<PullPlace> in_cache(const std::string& cache, const RepoSpec& spec);
  static Result<PullPlace> in_directory(const std::string& directory);

  PullPlace(PullPlace&&) = default;
  PullPlace& operator=(PullPlace&&) = delete;
  ~PullPlace();

  // Once the commit is known. True: the pull is there already, in target().
  Result<bool> settle(const PullManifest& manifest);
  const std::string& target() const { return target_; }
  const std::string& incoming() const { return incoming_; }

  // Bytes that may still be written there.
  Result<uint64_t> free_bytes() const;
  // Writes the manifest, gives the directory its name and, in the cache, the revision its commit.
  Status finish(const PullManifest& manifest);
  Status write_ref(const std::string& commit) const;

 private:
  PullPlace() = default;
  Status make_incoming(const PullManifest& manifest);

  RepoSpec spec_;
  std::string cache_;  // empty: in a directory that the user named
  std::string target_;
  std::string incoming_;
  FileDescriptor lock_;  // an open directory; its flock ends with it
};

}  // namespace splitd

// Owns: a directory that is seen whole or not at all: files are written under a temporary name
// beside it, which takes the real name by rename. Dropped without commit() it leaves nothing
// behind. Not thread-safe per object.
#pragma once

#include <string>
#include <utility>

#include "runtime/base/result.h"

namespace splitd {

class AtomicDirectory {
 public:
  // `path` must not exist, or be an empty directory.
  static Result<AtomicDirectory> create(const std::string& path);

  AtomicDirectory(AtomicDirectory&& other) noexcept
      : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})) {}
  AtomicDirectory& operator=(AtomicDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(temporary_, other.temporary_);
    return *this;
  }
  ~AtomicDirectory();

  // Where to write until commit().
  const std::string& temporary() const { return temporary_; }
  // Refuses when less than `bytes` are free where the directory will lie.
  Status check_space(uint64_t bytes) const;
  Status commit();

 private:
  AtomicDirectory(std::string path, std::string temporary)
      : path_(std::move(path)), temporary_(std::move(temporary)) {}

  std::string path_;
  std::string temporary_;  // empty once committed or moved from
};

}  // namespace splitd

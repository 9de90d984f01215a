// Owns: a directory that is seen whole or not at all: files are written to `<path>.partial`, which
// takes the real name by rename. Dropped without commit() it leaves nothing behind, unless keep()
// was called or the process was killed: the next one to make the same directory then finds what is
// there. One process at a time holds it. Not thread-safe per object.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/result.h"

namespace splitd {

class AtomicDirectory {
 public:
  // `path` must not exist, or be an empty directory; `<path>.partial` must not exist, be empty, or
  // hold a file named `mark`, by which its maker knows it again.
  static Result<AtomicDirectory> create(const std::string& path, const std::string& mark = {});

  AtomicDirectory(AtomicDirectory&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})),
        lock_(std::move(other.lock_)),
        keep_(other.keep_) {}
  AtomicDirectory& operator=(AtomicDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(temporary_, other.temporary_);
    std::swap(lock_, other.lock_);
    std::swap(keep_, other.keep_);
    return *this;
  }
  ~AtomicDirectory();

  // Where to write until commit().
  const std::string& temporary() const { return temporary_; }
  // What is written stays for a later run, whatever becomes of this one.
  void keep(bool on) { keep_ = on; }
  // Removes everything else: what an earlier run left that this one does not go on with.
  Status keep_only(const std::vector<std::string>& names);
  // Refuses when less than `bytes` are free where the directory will lie.
  Status check_space(uint64_t bytes) const;
  Status commit();

 private:
  AtomicDirectory(std::string path, std::string temporary, FileDescriptor lock)
      : path_(std::move(path)), temporary_(std::move(temporary)), lock_(std::move(lock)) {}

  std::string path_;
  std::string temporary_;  // empty once committed or moved from
  FileDescriptor lock_;    // the directory itself
  bool keep_ = false;
};

}  // namespace splitd

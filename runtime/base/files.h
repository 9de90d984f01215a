// Owns: reading whole small files and writing files that are never seen half done: the bytes go to
// a temporary name in the same directory and appear under the real one by rename, after fsync.
// A value that is dropped without commit() leaves nothing behind. Not thread-safe per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/result.h"

namespace splitd {

// "<what>: <strerror(errno)>". Call it before anything else can change errno.
[[nodiscard]] Error system_error(std::string what);

// Closes on destruction; -1 is none.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// The whole file; a file longer than max_bytes is refused with both numbers. Pipes work.
[[nodiscard]] Result<std::string> read_file(const std::string& path,
                                            uint64_t max_bytes = uint64_t{64} << 20);
[[nodiscard]] Result<std::string> read_all(int fd, uint64_t max_bytes);

[[nodiscard]] Status write_all(int fd, std::span<const std::byte> bytes);
[[nodiscard]] Status write_all(int fd, std::string_view text);

class AtomicFile {
 public:
  // Mode is what the finished file gets (subject to no umask), e.g. 0600 for keys.
  static Result<AtomicFile> create(const std::string& path, unsigned mode = 0644);

  AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  int fd() const { return file_.get(); }
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  Status commit();  // fsync, rename over `path`, fsync of the directory

 private:
  AtomicFile() = default;
  std::string path_;
  std::string temporary_;  // empty once committed or moved from
  FileDescriptor file_;
};

[[nodiscard]] Status write_file(const std::string& path, std::string_view text,
                                unsigned mode = 0644);

[[nodiscard]] bool path_exists(const std::string& path);
[[nodiscard]] bool is_directory(const std::string& path);

}  // namespace splitd

// Owns: read-only views of files, and what the kernel is told about their ranges. Weights are used
// in place, so a page that nobody touches costs no memory. A file that another process truncates
// while mapped raises SIGBUS, as with every mmap user: model files are replaced, never rewritten.
// Const methods are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/result.h"

namespace splitd {

// How weights are reached: used in place, or only read through, which takes no address space to
// speak of.
enum class FileAccess : uint8_t { mapped, read };

class MappedFile {
 public:
  // Refuses what is not a regular file, naming the path and the reason.
  static Result<MappedFile> open(const std::string& path);
  // The same for a file that is open already, named `path` in messages. The map outlives it.
  // With FileAccess::read only its first `head_bytes` are mapped: bytes() is these, and read() has
  // the rest.
  static Result<MappedFile> map(const FileDescriptor& file, const std::string& path,
                                FileAccess access = FileAccess::mapped, uint64_t head_bytes = 0);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(mapped_)}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), bytes().size()}; }

  // Bytes [begin, begin + out.size()), which lie in the file.
  Status read(uint64_t begin, std::span<std::byte> out) const;

  enum class Advice {
    will_need,   // start reading the range now, do not wait
    read_now,    // read it, and wait
    sequential,  // read once, front to back
    random,      // no read-ahead: touch only what is asked for
    dont_need,   // drop the pages; the data is read again if touched
  };
  // A hint: failure changes nothing but speed, so it is not reported. The range is clipped to what
  // is mapped.
  void advise(uint64_t begin, uint64_t length, Advice advice) const;

  // Bytes of the file that lie in memory now (mincore), whoever read them. To users who neither own
  // the file nor may write it Linux says that all of it does.
  uint64_t resident_bytes() const;
  // Bytes of the file in this process's page table (the Rss of /proc/self/smaps): what it touched
  // through the map, and what the kernel mapped around each touch (64 KiB, or a huge page) because
  // it was in memory already. Nothing where /proc is not there.
  std::optional<uint64_t> touched_bytes() const;

 private:
  MappedFile() = default;

  std::string path_;
  std::byte* data_ = nullptr;  // nullptr when nothing is mapped
  uint64_t mapped_ = 0;        // bytes of it
  uint64_t size_ = 0;
  FileDescriptor file_;  // of one that is not mapped whole
};

}  // namespace splitd

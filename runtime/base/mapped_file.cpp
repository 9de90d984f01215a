// mmap, madvise, mincore and smaps behind MappedFile.
#include "runtime/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/base/checked.h"

namespace splitd {

Result<MappedFile> MappedFile::open(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return system_error("cannot open " + path);
  return map(file, path);
}

// The size of a regular file.
static Result<uint64_t> file_bytes(const FileDescriptor& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("cannot stat " + path);
  if (!S_ISREG(info.st_mode)) return failed(path + " is not a regular file");
  return static_cast<uint64_t>(info.st_size);
}

Status MappedFile::read(uint64_t begin, std::span<std::byte> out) const {
  if (!range_fits(begin, out.size(), size_)) {
    return failed(path_ + ": bytes " + std::to_string(begin) + " to " +
                  std::to_string(begin + out.size()) + " of a file of " + std::to_string(size_));
  }
  if (range_fits(begin, out.size(), mapped_)) {
    if (!out.empty()) std::memcpy(out.data(), data_ + begin, out.size());
    return {};
  }
  while (!out.empty()) {
    const ssize_t count = ::pread(file_.get(), out.data(), out.size(), static_cast<off_t>(begin));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot read " + path_);
    if (count == 0) return failed(path_ + " became shorter while it was read");
    begin += static_cast<uint64_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<MappedFile> MappedFile::map(const FileDescriptor& file, const std::string& path,
                                   FileAccess access, uint64_t head_bytes) {
  MappedFile mapped;
  mapped.path_ = path;
  SPLITD_ASSIGN(mapped.size_, file_bytes(file, path));
  if (mapped.size_ == 0) return mapped;
  if (access == FileAccess::read) {
    mapped.file_ = FileDescriptor(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    if (!mapped.file_.valid()) return system_error("cannot keep " + path + " open");
    if (head_bytes == 0) return mapped;
  }
  const uint64_t bytes =
      access == FileAccess::read ? std::min(head_bytes, mapped.size_) : mapped.size_;
  void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) return system_error("cannot map " + path);
  mapped.mapped_ = bytes;
  mapped.data_ = static_cast<std::byte*>(data);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(mapped_, other.mapped_);
  std::swap(size_, other.size_);
  std::swap(file_, other.file_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, mapped_);
}

static uint64_t page_bytes() {
  static const auto size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

void MappedFile::advise(uint64_t begin, uint64_t length, Advice advice) const {
  if (begin >= mapped_) return;
  const uint64_t end = begin + std::min(length, mapped_ - begin);
  const uint64_t first = begin / page_bytes() * page_bytes();
  int flag = MADV_NORMAL;
  switch (advice) {
    case Advice::will_need:
      flag = MADV_WILLNEED;
      break;
    case Advice::read_now:
#ifdef MADV_HUGEPAGE
      // What is not in memory yet is then read in blocks of 2 MiB that lie together, where the file
      // system can: read as single pages, strewn, a stream over them is up to a quarter slower.
      ::madvise(data_ + first, end - first, MADV_HUGEPAGE);
#endif
#ifdef MADV_POPULATE_READ  // Linux 5.14; older kernels answer an error, which is no harm
      flag = MADV_POPULATE_READ;
#else
      flag = MADV_WILLNEED;
#endif
      break;
    case Advice::sequential:
      flag = MADV_SEQUENTIAL;
      break;
    case Advice::random:
      flag = MADV_RANDOM;
      break;
    case Advice::dont_need:
      flag = MADV_DONTNEED;
      break;
  }
  ::madvise(data_ + first, end - first, flag);
}

uint64_t MappedFile::resident_bytes() const {
  constexpr uint64_t kWindow = uint64_t{1} << 30;
  uint64_t pages = 0;
  std::vector<unsigned char> map;
  for (uint64_t at = 0; at < mapped_; at += kWindow) {
    const uint64_t length = std::min(kWindow, mapped_ - at);
    map.assign((length + page_bytes() - 1) / page_bytes(), 0);
    if (::mincore(data_ + at, length, map.data()) != 0) return 0;
    pages += static_cast<uint64_t>(
        std::count_if(map.begin(), map.end(), [](unsigned char page) { return (page & 1) != 0; }));
  }
  return std::min(pages * page_bytes(), mapped_);
}

// One "7f12-7f13 r--s …" line opens an area, "Rss:  12 kB" lies below it. An advised range is an
// area of its own, so a file can have several.
std::optional<uint64_t> MappedFile::touched_bytes() const {
  if (mapped_ == 0) return 0;
  const Result<std::string> text = read_file("/proc/self/smaps");
  if (!text) return std::nullopt;
  const auto ours = reinterpret_cast<uintptr_t>(data_);
  uint64_t total = 0;
  bool inside = false;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with("Rss:")) {
      const size_t digits = line.find_first_of("0123456789");
      uint64_t kib = 0;
      if (digits == std::string_view::npos) return std::nullopt;
      std::from_chars(line.data() + digits, line.data() + line.size(), kib);
      if (inside) total += kib * 1024;
      continue;
    }
    uintptr_t begin = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), begin, 16);
    const bool opens_area = error == std::errc() && end != line.data() + line.size() && *end == '-';
    if (opens_area) inside = range_fits(begin - ours, 1, mapped_);
  }
  return std::min(total, mapped_);
}

}  // namespace splitd

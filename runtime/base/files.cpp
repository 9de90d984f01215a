// POSIX files behind files.h.
#include "runtime/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace splitd {

Error system_error(std::string what) {
  const int code = errno;
  char buffer[128];
  // The GNU strerror_r: returns the text, which may not be in the buffer.
  const char* text = ::strerror_r(code, buffer, sizeof buffer);
  return failed(std::move(what) + ": " + text);
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> read_all(int fd, uint64_t max_bytes) {
  std::string out;
  constexpr size_t kStep = size_t{64} << 10;
  while (true) {
    const size_t used = out.size();
    if (out.capacity() - used < kStep) out.reserve(used * 2 + kStep);
    out.resize(used + kStep);
    const ssize_t count = ::read(fd, out.data() + used, kStep);
    if (count < 0 && errno == EINTR) {
      out.resize(used);
      continue;
    }
    if (count < 0) return system_error("cannot read");
    out.resize(used + static_cast<size_t>(count));
    if (out.size() > max_bytes) {
      return failed("longer than " + std::to_string(max_bytes) +
                    " bytes, the most that is accepted");
    }
    if (count == 0) return out;
  }
}

Result<std::string> read_file(const std::string& path, uint64_t max_bytes) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return system_error("cannot open " + path);
  Result<std::string> text = read_all(file.get(), max_bytes);
  if (!text) return text.take_error().within(path);
  return text;
}

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot write");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status write_all(int fd, std::string_view text) {
  return write_all(fd, std::as_bytes(std::span(text.data(), text.size())));
}

static std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<AtomicFile> AtomicFile::create(const std::string& path, unsigned mode) {
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode)) {
    return failed("cannot write " + path + ": it is there and no regular file");
  }
  AtomicFile out;
  std::string name = path + ".tmp-XXXXXX";
  out.file_ = FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!out.file_.valid()) return system_error("cannot create a file beside " + path);
  out.path_ = path;
  out.temporary_ = name;
  if (::fchmod(out.file_.get(), mode) != 0) return system_error("cannot set the mode of " + name);
  return out;
}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(file_, other.file_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  Status status = write_all(file_.get(), bytes);
  if (!status.ok()) return status.take_error().within(path_);
  return {};
}

Status AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status AtomicFile::commit() {
  if (::fsync(file_.get()) != 0) return system_error("cannot flush " + path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return system_error("cannot rename " + temporary_ + " to " + path_);
  }
  temporary_.clear();
  const FileDescriptor directory(::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY));
  if (directory.valid()) ::fsync(directory.get());  // some file systems cannot: the rename holds
  return {};
}

Status write_file(const std::string& path, std::string_view text, unsigned mode) {
  SPLITD_ASSIGN(AtomicFile file, AtomicFile::create(path, mode));
  SPLITD_TRY(file.write(text));
  return file.commit();
}

bool path_exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace splitd

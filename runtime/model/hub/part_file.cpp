#include "runtime/model/hub/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "runtime/base/json.h"

namespace splitd {

struct PartFile::State {
  std::string path;
  std::string source;
  std::string prefix;
  uint64_t bytes = 0;
  FileDescriptor file;
  mutable std::mutex mutex;  // guards validator and have
  std::string validator;
  ByteSet have;

  std::string part_path() const { return path + ".part"; }
  std::string record_path() const { return path + ".part.json"; }
  Status write_at(uint64_t offset, std::span<const std::byte> data) const;
  bool take_up(const std::string& record);
};

namespace {

constexpr uint64_t kMaxRecordBytes = uint64_t{4} << 20;

}  // namespace

Status PartFile::State::write_at(uint64_t offset, std::span<const std::byte> data) const {
  while (!data.empty()) {
    const ssize_t count =
        ::pwrite(file.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("cannot write " + part_path());
    offset += static_cast<uint64_t>(count);
    data = data.subspan(static_cast<size_t>(count));
  }
  return {};
}

// False: the record is of something else, or broken; then the file starts anew.
bool PartFile::State::take_up(const std::string& record) {
  const Result<JsonDoc> doc = JsonDoc::parse_view(record);
  if (!doc) return false;
  const Json root = doc->root();
  const auto text = [&](std::string_view key) {
    const std::optional<Json> value = root.find(key);
    return value ? std::string(value->text()) : std::string();
  };
  if (text("source") != source || text("bytes") != std::to_string(bytes)) return false;
  const std::optional<Json> ranges = root.find("have");
  if (!ranges || !ranges->is_array()) return false;
  std::vector<uint64_t> ends;
  for (const Json item : ranges->elements()) {
    const std::optional<uint64_t> end = item.to_u64();
    if (!end || *end > bytes || (!ends.empty() && *end <= ends.back())) return false;
    ends.push_back(*end);
  }
  if (ends.size() % 2 != 0) return false;
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return false;
  if (!ends.empty() && static_cast<uint64_t>(info.st_size) < ends.back()) return false;
  for (size_t i = 0; i < ends.size(); i += 2) have.add({ends[i], ends[i + 1]});
  validator = text("validator");
  return true;
}

PartFile::PartFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
PartFile::PartFile(PartFile&&) noexcept = default;
PartFile& PartFile::operator=(PartFile&&) noexcept = default;
PartFile::~PartFile() = default;

Result<PartFile> PartFile::open(std::string path, std::string source, uint64_t bytes,
                                std::string_view prefix) {
  auto state = std::make_unique<State>();
  state->path = std::move(path);
  state->source = std::move(source);
  state->bytes = bytes;
  state->prefix = prefix;
  state->file =
      FileDescriptor(::open(state->part_path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!state->file.valid()) return system_error("cannot create " + state->part_path());
  const Result<std::string> record = read_file(state->record_path(), kMaxRecordBytes);
  const bool resumed = record.ok() && state->take_up(*record);
  PartFile out(std::move(state));
  if (!resumed) SPLITD_TRY(out.restart());
  return out;
}

uint64_t PartFile::bytes() const {
  return state_->bytes;
}
const std::string& PartFile::path() const {
  return state_->path;
}

std::string PartFile::validator() const {
  const std::lock_guard lock(state_->mutex);
  return state_->validator;
}

void PartFile::set_validator(std::string validator) {
  const std::lock_guard lock(state_->mutex);
  state_->validator = std::move(validator);
}

Status PartFile::write(uint64_t offset, std::span<const std::byte> bytes) {
  return state_->write_at(offset, bytes);
}

void PartFile::landed(ByteRange range) {
  const std::lock_guard lock(state_->mutex);
  state_->have.add(range);
}

ByteSet PartFile::have() const {
  const std::lock_guard lock(state_->mutex);
  return state_->have;
}

bool PartFile::complete() const {
  const std::lock_guard lock(state_->mutex);
  return state_->have.contains({0, state_->bytes});
}

Status PartFile::save() {
  JsonWriter record;
  {
    const std::lock_guard lock(state_->mutex);
    record.begin_object().field("source", state_->source);
    record.field("bytes", std::string_view(std::to_string(state_->bytes)));
    record.field("validator", state_->validator).key("have").begin_array();
    for (const ByteRange range : state_->have.ranges()) {
      record.number(range.begin).number(range.end);
    }
    record.end_array().end_object();
  }
  // In this order: a record never claims bytes that a power cut could still take.
  if (::fdatasync(state_->file.get()) != 0) return system_error("cannot flush " + path());
  return write_file(state_->record_path(), record.text());
}

Status PartFile::restart() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->have = {};
    state_->validator.clear();
  }
  // The record goes first: between the two, nothing claims what is not there.
  ::unlink(state_->record_path().c_str());
  // The size comes with the bytes: a stated one may be more than any file system holds.
  if (::ftruncate(state_->file.get(), 0) != 0) {
    return system_error("cannot empty " + state_->part_path());
  }
  const std::string& prefix = state_->prefix;
  SPLITD_TRY(state_->write_at(0, std::as_bytes(std::span(prefix.data(), prefix.size()))));
  landed({0, prefix.size()});
  return {};
}

Status PartFile::read_back(const std::function<bool(std::span<const std::byte>)>& sink) const {
  std::vector<std::byte> buffer(size_t{1} << 20);
  for (uint64_t at = 0; at < state_->bytes;) {
    const ssize_t count =
        ::pread(state_->file.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return system_error("cannot read " + state_->part_path());
    at += static_cast<uint64_t>(count);
    if (!sink(std::span(buffer).first(static_cast<size_t>(count)))) return {};
  }
  return {};
}

Status PartFile::finish() {
  const std::string part = state_->part_path();
  if (::fdatasync(state_->file.get()) != 0) return system_error("cannot flush " + part);
  if (::rename(part.c_str(), path().c_str()) != 0) {
    return system_error("cannot rename " + part + " to " + path());
  }
  ::unlink(state_->record_path().c_str());
  return {};
}

}  // namespace splitd

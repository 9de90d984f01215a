// Shards, and the state that says how far they are.
#include "runtime/model/convert_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/base/json.h"
#include "runtime/model/formats/safetensors_writer.h"

namespace splitd {
namespace {

constexpr const char* kState = "convert.state";
constexpr uint64_t kMaxStateBytes = uint64_t{64} << 20;
constexpr uint64_t kCheckpointBytes = uint64_t{32} << 20;

std::string make_state(const std::string& identity, uint64_t done,
                       const std::vector<QuantisationLoss>& losses) {
  JsonWriter out;
  out.begin_object().field("identity", std::string_view(identity)).field("done", done);
  out.key("losses").begin_array();
  for (const QuantisationLoss& loss : losses) out.number(loss.lost).number(loss.total);
  out.end_array().end_object();
  return out.take();
}

}  // namespace

Result<ConvertTarget> ConvertTarget::open(const std::string& directory, const ConvertPlan& plan,
                                          const std::map<std::string, std::string>& metadata,
                                          const std::string& identity, size_t n_loss) {
  ConvertTarget target;
  target.final_ = directory;
  target.identity_ = identity;
  target.losses_.resize(n_loss);
  for (const ConvertShard& shard : plan.shards) {
    std::vector<TensorInfo> tensors;
    for (size_t i = shard.begin; i < shard.end; ++i) tensors.push_back(plan.items[i].output);
    SPLITD_ASSIGN(std::string header, make_safetensors_header(tensors, metadata));
    target.names_.push_back(shard.name);
    target.headers_.push_back(std::move(header));
    target.bytes_.push_back(shard.bytes);
  }
  target.committed_ = target.restore(directory).ok() && target.done_ == plan.bytes;
  if (target.committed_) return target;
  SPLITD_TRY(target.create(directory));
  constexpr uint64_t kTextBytes = uint64_t{64} << 20;  // room for everything that is no weight
  SPLITD_TRY(target.directory_->check_space(plan.bytes - target.done_ + kTextBytes));
  return target;
}

// What is not as this run would have written it is done again from the beginning.
Status ConvertTarget::create(const std::string& directory) {
  SPLITD_ASSIGN(directory_, AtomicDirectory::create(directory, kState));
  if (!restore(temporary()).ok() || !reopen().ok()) {
    file_ = FileDescriptor();
    done_ = shard_done_ = recorded_ = 0;
    shard_ = 0;
    std::fill(losses_.begin(), losses_.end(), QuantisationLoss());
  }
  // The new state first: without one, nobody would know the directory as ours.
  SPLITD_TRY(checkpoint());
  std::vector<std::string> names(names_.begin(), names_.begin() + static_cast<ptrdiff_t>(shard_));
  names.emplace_back(kState);
  if (file_.valid()) names.push_back(names_[shard_] + ".part");
  return directory_->keep_only(names);
}

// Reads the state that lies in a directory.
Status ConvertTarget::restore(const std::string& directory) {
  SPLITD_ASSIGN(std::string text, read_file(directory + "/" + kState, kMaxStateBytes));
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(std::move(text)));
  const std::optional<Json> identity = doc.root().find("identity");
  const std::optional<Json> done = doc.root().find("done");
  const std::optional<Json> losses = doc.root().find("losses");
  const bool ours = identity && done && losses && identity->to_string() == identity_ &&
                    done->to_u64() && losses->size() == 2 * losses_.size();
  if (!ours) return failed("of another conversion");
  done_ = *done->to_u64();
  size_t index = 0;
  for (const Json number : losses->elements()) {
    QuantisationLoss& loss = losses_[index / 2];
    (index++ % 2 == 0 ? loss.lost : loss.total) = number.to_f64().value_or(0.0);
  }
  return {};
}

// Cuts what was written after the checkpoint.
Status ConvertTarget::reopen() {
  uint64_t left = done_;
  for (shard_ = 0; shard_ < names_.size() && left >= bytes_[shard_]; ++shard_) {
    struct stat info {};
    const std::string path = path_of(names_[shard_]);
    const bool whole =
        ::stat(path.c_str(), &info) == 0 &&
        static_cast<uint64_t>(info.st_size) == headers_[shard_].size() + bytes_[shard_];
    if (!whole) return failed(path + " is not as it was left");
    left -= bytes_[shard_];
  }
  shard_done_ = left;
  recorded_ = done_;
  if (shard_ == names_.size()) return left == 0 ? Status() : failed("more than there is");
  const std::string path = path_of(names_[shard_]);
  // The kill may have come between a file's new name and the record of it.
  (void)std::rename(path.c_str(), (path + ".part").c_str());
  file_ = FileDescriptor(::open((path + ".part").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file_.valid()) {
    // Nothing of this file was there at the checkpoint.
    return left == 0 ? Status() : system_error("cannot open " + path + ".part");
  }
  const uint64_t size = headers_[shard_].size() + left;
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0 || static_cast<uint64_t>(info.st_size) < size) {
    file_ = FileDescriptor();
    return left == 0 ? Status() : failed(path + ".part is shorter than it was left");
  }
  if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0 ||
      ::lseek(file_.get(), 0, SEEK_END) < 0) {
    return system_error("cannot cut " + path + ".part");
  }
  return {};
}

Status ConvertTarget::open_shard() {
  const std::string path = path_of(names_[shard_]) + ".part";
  file_ = FileDescriptor(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file_.valid()) return system_error("cannot create " + path);
  return write_all(file_.get(), headers_[shard_]);
}

Status ConvertTarget::close_shard() {
  const std::string path = path_of(names_[shard_]);
  if (::fsync(file_.get()) != 0) return system_error("cannot write " + path);
  if (std::rename((path + ".part").c_str(), path.c_str()) != 0) {
    return system_error("cannot rename " + path + ".part");
  }
  file_ = FileDescriptor();
  ++shard_;
  shard_done_ = 0;
  return checkpoint();
}

Status ConvertTarget::write(std::span<const std::byte> bytes) {
  // Tensors without a number take no bytes, and a file may hold nothing else.
  while (shard_ < names_.size() && shard_done_ == bytes_[shard_] && !bytes.empty()) {
    if (!file_.valid()) SPLITD_TRY(open_shard());
    SPLITD_TRY(close_shard());
  }
  if (bytes.empty()) return {};
  if (shard_ == names_.size() || bytes.size() > bytes_[shard_] - shard_done_) {
    return failed("more bytes of tensors than the headers declare");
  }
  if (!file_.valid()) SPLITD_TRY(open_shard());
  SPLITD_TRY(write_all(file_.get(), bytes));
  shard_done_ += bytes.size();
  done_ += bytes.size();
  return {};
}

Status ConvertTarget::row_end() {
  return done_ - recorded_ < kCheckpointBytes ? Status() : checkpoint();
}

Status ConvertTarget::checkpoint() {
  if (file_.valid() && ::fdatasync(file_.get()) != 0) {
    return system_error("cannot write to " + temporary());
  }
  SPLITD_TRY(write_file(path_of(kState), make_state(identity_, done_, losses_)));
  recorded_ = done_;
  return {};
}

Status ConvertTarget::finish_weights() {
  while (shard_ < names_.size()) {
    if (shard_done_ != bytes_[shard_]) {
      return failed(std::to_string(bytes_[shard_] - shard_done_) +
                    " bytes of what the header declares were never written");
    }
    if (!file_.valid()) SPLITD_TRY(open_shard());
    SPLITD_TRY(close_shard());
  }
  return {};
}

// The state goes last: whoever finds it there knows that the directory is what it was to become.
Status ConvertTarget::commit() {
  if (directory_) SPLITD_TRY(directory_->commit());
  const std::string path = final_ + "/" + kState;
  if (::unlink(path.c_str()) != 0) return system_error("cannot remove " + path);
  return {};
}

}  // namespace splitd

// Owns: the weight files of a conversion while they are written, so that a run that was killed at
// any point is taken up by the next one: data goes to <file>.part, `convert.state` says how much of
// it is on the disk and what it belongs to, and a file gets its name when it is whole. A power cut
// loses at most what came after the last checkpoint. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/result.h"
#include "runtime/model/atomic_directory.h"
#include "runtime/model/convert_plan.h"
#include "runtime/model/quantise.h"

namespace splitd {

class ConvertTarget {
 public:
  // Takes up what lies in <directory>.partial when it has the same identity, else begins anew.
  // Of a run that was killed with all its work done it finds `directory` itself.
  static Result<ConvertTarget> open(const std::string& directory, const ConvertPlan& plan,
                                    const std::map<std::string, std::string>& metadata,
                                    const std::string& identity, size_t n_loss);

  const std::string& temporary() const { return directory_->temporary(); }
  bool is_committed() const { return committed_; }
  // Bytes of tensors that are there, of the whole plan.
  uint64_t done() const { return done_; }
  // What a later run needs to go on; kept with every checkpoint.
  std::vector<QuantisationLoss>& losses() { return losses_; }

  // The next bytes of the plan; a tensor lies in one file, so a portion never spans two.
  Status write(std::span<const std::byte> bytes);
  // At the end of a row: now and then what was written is recorded.
  Status row_end();
  // All weights are there. What else belongs to the model is written to temporary() now.
  Status finish_weights();
  Status commit();  // also where is_committed()
  // Whether a failed run leaves its work to the next.
  void keep(bool on) { directory_->keep(on); }

 private:
  ConvertTarget() = default;
  Status create(const std::string& directory);
  Status restore(const std::string& directory);
  Status reopen();
  Status open_shard();
  Status close_shard();
  Status checkpoint();
  std::string path_of(const std::string& name) const { return temporary() + "/" + name; }

  std::optional<AtomicDirectory> directory_;  // nothing where is_committed()
  std::string final_;                         // its path
  bool committed_ = false;
  std::string identity_;
  std::vector<std::string> names_;    // by shard
  std::vector<std::string> headers_;  // by shard: the file's first bytes
  std::vector<uint64_t> bytes_;       // by shard: of the tensors
  std::vector<QuantisationLoss> losses_;
  uint64_t done_ = 0;
  uint64_t recorded_ = 0;
  size_t shard_ = 0;
  uint64_t shard_done_ = 0;
  FileDescriptor file_;  // of the shard
};

}  // namespace splitd

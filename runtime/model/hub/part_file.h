// Owns: a file that arrives in pieces, in any order, over several runs. Its bytes lie in
// <path>.part, and <path>.part.json says which of them are there and of what; both vanish when
// finish() puts the file in place. A byte counts as there only after it was flushed to the disk.
// write() and landed() may be called from several threads.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/result.h"
#include "runtime/model/hub/byte_set.h"

namespace splitd {

class PartFile {
 public:
  // Takes up what an earlier run left if it was the same `source` of the same size; else starts
  // anew. `prefix` is written, and there, from the start.
  static Result<PartFile> open(std::string path, std::string source, uint64_t bytes,
                               std::string_view prefix);
  PartFile(PartFile&&) noexcept;
  PartFile& operator=(PartFile&&) noexcept;
  ~PartFile();

  uint64_t bytes() const;
  const std::string& path() const;  // of the finished file
  // What the server called its content when the first byte came; empty until then.
  std::string validator() const;
  void set_validator(std::string validator);

  // Only bytes that were not there yet are ever written.
  Status write(uint64_t offset, std::span<const std::byte> bytes);
  void landed(ByteRange range);  // written; counts from the next save() on for later runs
  ByteSet have() const;
  bool complete() const;

  Status save();     // flushes, then records what has landed
  Status restart();  // forgets everything but the prefix
  // Reads the file from the beginning; false stops it.
  Status read_back(const std::function<bool(std::span<const std::byte>)>& sink) const;
  Status finish();  // flushes and renames

 private:
  struct State;
  explicit PartFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace splitd

// Owns: quantised matrices laid out in panels (kernels/quantised.h), in huge pages of its own, each
// once however many backends compute with it. They give the same bits as the rows of the file, are
// read at twice the rate, and do not depend on how the page cache happens to hold the file. What
// has been laid out is not needed where it came from: those pages are given back. Processes share
// a file's pages but not these. All or nothing: what would not fit in memory stays in the file.
// One call at a time, and none while a backend of the same threads computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "runtime/base/mapped_file.h"
#include "runtime/base/memory.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/engine/cpu_matmul.h"
#include "runtime/engine/thread_pool.h"

namespace splitd {

class CpuPanels {
 public:
  // Bytes that could still be taken; 0: nobody knows.
  using Available = uint64_t (*)();

  // The files that the matrices lie in, and the threads that lay them out. Both outlive this.
  CpuPanels(std::span<const MappedFile> files, ThreadPool& pool,
            Available available = available_memory_bytes)
      : files_(files), pool_(pool), available_(available) {}

  // Makes these matrices the laid out ones, where they are of a type that has panels. False from
  // `progress` ends it with ErrorKind::interrupted. They are good as long as this is.
  Status lay_out(std::span<CpuMatrix* const> matrices, const ProgressFn& progress);

  // Bytes that this holds.
  size_t bytes() const { return bytes_; }

 private:
  struct Unmap {
    size_t bytes = 0;
    void operator()(std::byte* data) const;
  };
  using Area = std::unique_ptr<std::byte, Unmap>;

  static Area reserve(size_t bytes);
  Status fill(std::span<CpuMatrix* const> matrices, std::byte* to, const ProgressFn& progress);
  void advise(const std::byte* from, size_t bytes, MappedFile::Advice advice) const;

  std::span<const MappedFile> files_;
  ThreadPool& pool_;
  const Available available_;
  std::vector<Area> areas_;
  size_t bytes_ = 0;
  // By where a matrix lies in its file, and its rows.
  std::map<std::pair<const void*, size_t>, CpuMatrix> laid_out_;
};

}  // namespace splitd

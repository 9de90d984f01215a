// Owns: a model that is computed on this machine: its files, the kernels, the threads, and backends
// over ranges of its layers. Opening reads headers; weights are read when they are used, or ahead
// by read_ahead(). One thread uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_weights.h"
#include "runtime/engine/thread_pool.h"
#include "runtime/model/model_files.h"
#include "tools/generate/options.h"

namespace splitd::cli {

// What one machine computes of a model.
struct ModelPart {
  LayerRange layers;
  bool embedding = false;
  bool head = false;
};

class LocalModel {
 public:
  static Result<std::unique_ptr<LocalModel>> open(const std::string& path,
                                                  const EngineOptions& options);

  const ModelFiles& files() const { return files_; }
  const ModelConfig& config() const { return files_.config(); }
  ModelPart whole() const { return {{0, config().n_layer}, true, true}; }
  const kernels::KernelTable& table() const { return table_; }
  ThreadPool& pool() { return pool_; }  // while no backend computes

  // A backend for one part, on the device of the options; it must not outlive this.
  Result<std::unique_ptr<Backend>> backend(const ModelPart& part);
  // The same over weights that the caller keeps, in this or the other arithmetic.
  Result<std::unique_ptr<Backend>> backend(const ModelWeights& weights, bool exact);
  // What computes. Known for sure once a backend was made.
  const DeviceChoice& device() const { return options_.device; }

  // Reads the part's weights, and no others, into memory, telling how far it is in bytes: in the
  // form that its backends compute with, made or not; nothing when they would not fit. False from
  // `progress` ends it with ErrorKind::interrupted.
  Status read_ahead(const ModelPart& part, const ProgressFn& progress);
  // Bytes of these layers that are computed with where they lie in the files: of what the system
  // calls available, computing will take that much. What was laid out by then is taken already.
  uint64_t in_file_bytes(LayerRange layers) const;

  // The rows that a session of n_row tokens gets: --ctx where it was given, else as many, at most
  // what the model was made for. Refuses a --ctx beyond that.
  Result<uint32_t> context(uint64_t n_row) const;

 private:
  LocalModel(ModelFiles files, const EngineOptions& options, const kernels::KernelTable& table)
      : options_(options), files_(std::move(files)), table_(table), pool_(options.n_thread) {}
  std::vector<FileRange> byte_ranges(CpuWeights& weights) const;

  EngineOptions options_;
  ModelFiles files_;
  const kernels::KernelTable& table_;
  ThreadPool pool_;
  CpuPanels panels_{files_.files().files(), pool_};
  std::deque<ModelWeights> weights_;  // of the backends; never move
};

}  // namespace splitd::cli

// Owns: measuring a model as it runs here: decode, prefill and steps of several rows, in turns with
// the machine's own streaming read, so that a machine that slows down slows all of them down. What
// runs is what `splitd run` runs, sampler included.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "tools/generate/text_model.h"
#include "tools/measure/read_probe.h"

namespace splitd::cli {

struct BenchOptions {
  uint32_t n_prompt = 512;  // 0: no prefill
  uint32_t n_gen = 128;     // 0: no decode
  uint32_t depth = 0;       // tokens before those of decode and steps
  uint32_t repetitions = 5;
  std::vector<uint32_t> rows;  // of steps, ascending; begins with 1 unless empty
};

// Values of several rounds of the same work.
struct Samples {
  std::vector<double> values;
  bool more_is_better = true;

  bool empty() const { return values.empty(); }
  double best() const;
  double median() const;
};

struct StepSamples {
  uint32_t rows = 0;
  Samples seconds{.values = {}, .more_is_better = false};
  Samples cost{.values = {}, .more_is_better = false};  // over one row's step of the same turn
};

struct BenchResult {
  uint64_t token_bytes = 0;  // of weights, that a token needs
  Samples read;              // bytes a second; empty: not measured
  Samples decode;            // tokens a second, by repetition
  Samples decode_of_read;    // weight bytes a second over the reads just before and after
  Samples prefill;           // tokens a second
  std::vector<StepSamples> steps;
};

// Weight bytes that one token reads: all matrices of its layers, the experts it uses, the head.
[[nodiscard]] uint64_t token_bytes(const ModelConfig& config, const ModelWeights& weights);

// `probe` may be nullptr. Refuses what the model's context cannot hold.
[[nodiscard]] Result<BenchResult> bench_model(TextModel& model, const BenchOptions& options,
                                              ReadProbe* probe, const ProgressFn& progress);

}  // namespace splitd::cli

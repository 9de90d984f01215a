// Owns: what `convert --dtype q8|q4` fits its matrices to: a text, run through the source model on
// this machine's CPU while its layers are converted. Where that cannot be (a part of a model, no
// tokenizer, no address space) matrices are quantised by their numbers alone. One thread uses it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "runtime/engine/calibration.h"

namespace splitd::cli {

class Calibrator {
 public:
  // `layers`: the ones that are converted. Fails where the model cannot be run, and says why.
  static Result<std::unique_ptr<Calibrator>> open(const std::string& model, const std::string& text,
                                                  LayerRange layers, uint32_t n_thread);

  size_t n_token() const { return ids_.size(); }
  // Changes with the text and with what computes.
  std::string id() const;
  Result<const Feedback*> feedback(const TensorSpec& spec);

 private:
  Calibrator(ModelFiles files, const kernels::KernelTable& table, uint32_t n_thread)
      : files_(std::move(files)), table_(table), pool_(n_thread) {}

  ModelFiles files_;
  const kernels::KernelTable& table_;
  ThreadPool pool_;
  std::vector<uint32_t> ids_;
  std::unique_ptr<Calibration> calibration_;  // begun when first asked
};

// What is used where no text is given: prose, dialogue, code, figures, other languages.
extern const std::string_view kCalibrationText;

}  // namespace splitd::cli

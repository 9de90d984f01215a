// Owns: what a text does inside a model: the second moments of the inputs of each layer's matrices,
// for quantise_feedback.h. The text goes through the model once, layer by layer, in windows; one
// layer's weights and moments are in memory at a time. One thread uses it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/cpu_backend.h"
#include "runtime/model/model_files.h"
#include "runtime/model/quantise_feedback.h"

namespace splitd {

// So many rows see each other. More would say little more.
inline constexpr size_t kCalibrationWindow = 512;

class Calibration {
 public:
  // `model` is mapped, has all layers up to the last one asked for, and outlives this. `options`
  // are the backend's; ids are in the vocabulary.
  static Result<std::unique_ptr<Calibration>> start(const ModelFiles& model,
                                                    const CpuOptions& options,
                                                    const std::vector<uint32_t>& ids);

  // For a matrix of the text model; nullptr where nothing is known of it (an expert's down, an
  // embedding that is no head). Layers are asked for in order, the head after them: one that lies
  // behind is nullptr too. It is good until the next call.
  Result<const Feedback*> feedback(const TensorSpec& spec);

 private:
  enum Site : uint8_t { attention, attention_out, feed_forward, down, head, kSites };

  Calibration(const ModelFiles& model, const CpuOptions& options)
      : model_(model), options_(options) {}
  static std::optional<Site> site_of(Slot slot);
  Status run_layer(uint32_t layer, bool observe);
  Status run_head();
  Status run_windows(Backend& backend, uint32_t layer);
  void observe(const LayerWeights& weights, const CpuRows& rows, const CpuMatrix& matrix);

  const ModelFiles& model_;
  CpuOptions options_;
  std::vector<float> hidden_;  // (n, d_model): before layer next_
  uint32_t next_ = 0;
  std::optional<InputMoments> moments_[kSites];  // of layer next_ - 1
  std::optional<Feedback> feedback_[kSites];
};

}  // namespace splitd

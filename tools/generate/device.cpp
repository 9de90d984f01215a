#include "tools/generate/device.h"

#include <charconv>
#include <utility>

#include "runtime/engine/cpu_backend.h"
#ifdef SPLITD_CUDA
#include "kernels/cuda/device.h"
#include "runtime/engine/cuda/cuda_backend.h"
#endif

namespace splitd::cli {
namespace {

Error not_a_device(std::string_view text) {
  return usage_error("--device: '" + std::string(text) +
                     "'; auto, cpu, cuda and cuda:N (N from 0 on) are known");
}

#ifdef SPLITD_CUDA
constexpr int kLeastMajor = 8;  // bf16 on tensor cores

// Why the device cannot be used; empty when it can.
std::string problem_of(const kernels::CudaSurvey& survey, int index) {
  if (!survey.problem.empty()) return survey.problem;
  for (const kernels::CudaDevice& device : survey.devices) {
    if (device.index != index) continue;
    if (device.major >= kLeastMajor) return {};
    return device.name + " has compute capability " + std::to_string(device.major) + "." +
           std::to_string(device.minor) + "; 8.0 and later can compute here";
  }
  return "there is no CUDA device " + std::to_string(index) + "; " +
         std::to_string(survey.devices.size()) + " are here";
}

DeviceChoice gpu_choice(const kernels::CudaSurvey& survey, int index, bool is_fixed) {
  DeviceChoice out;
  out.is_cuda = true;
  out.index = index;
  out.is_fixed = is_fixed;
  for (const kernels::CudaDevice& device : survey.devices) {
    if (device.index != index) continue;
    out.why = device.name;
    out.memory_bytes = device.memory_bytes;
  }
  return out;
}
#endif

}  // namespace

Result<DeviceChoice> choose_device(std::string_view text) {
  if (text == "cpu") return DeviceChoice{.is_fixed = true, .why = "it was asked for"};
  int index = 0;
  if (text.starts_with("cuda:")) {
    const std::string_view number = text.substr(5);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
    if (error != std::errc() || end != number.data() + number.size() || index < 0) {
      return not_a_device(text);
    }
  } else if (text != "auto" && text != "cuda") {
    return not_a_device(text);
  }
  const bool is_fixed = text != "auto";
#ifdef SPLITD_CUDA
  const kernels::CudaSurvey survey = kernels::survey_cuda();
  const std::string problem = problem_of(survey, index);
  if (problem.empty()) return gpu_choice(survey, index, is_fixed);
  if (is_fixed) return failed("--device " + std::string(text) + ": " + problem);
  return DeviceChoice{.why = "no GPU: " + problem};
#else
  if (is_fixed) {
    return failed("--device " + std::string(text) + ": this build has no CUDA backend");
  }
  return DeviceChoice{.why = "this build has no CUDA backend"};
#endif
}

Result<std::unique_ptr<Backend>> make_backend([[maybe_unused]] DeviceChoice& choice,
                                              const ModelConfig& config,
                                              const ModelWeights& weights,
                                              const DeviceOptions& options) {
#ifdef SPLITD_CUDA
  // Nothing to compute needs no GPU.
  const bool has_work = weights.range.begin != weights.range.end || weights.head.data != nullptr;
  if (choice.is_cuda && has_work) {
    Result<std::unique_ptr<Backend>> made = make_cuda_backend(config, weights,
                                                              {.device = choice.index,
                                                               .table = options.table,
                                                               .exact = options.exact,
                                                               .progress = options.progress});
    if (made || choice.is_fixed || made.error().kind == ErrorKind::interrupted) return made;
    choice = {.why = made.error().message};
  }
#endif
  return make_cpu_backend(config, weights,
                          {.table = options.table,
                           .pool = options.pool,
                           .exact = options.exact,
                           .panels = options.panels,
                           .progress = options.progress});
}

}  // namespace splitd::cli

// Streams, events, graphs and breaking devices behind cuda_runtime.h. One thread at a time.
#include <memory>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#include "tests/emulated_cuda/device.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> capture;
  bool invalid = false;  // the capture under way
};

namespace emulated {
namespace {

struct Break {
  bool planned = false;
  bool broken = false;
  bool asynchronous = false;
  size_t n_left = 0;
};

Calls counts;
Break plan;
GraphFailure graph_failure = GraphFailure::none;
size_t n_capturing = 0;  // streams

cudaError_t refuse_in_capture(cudaStream_t stream) {
  if (stream == nullptr || stream->capture == nullptr) return cudaSuccess;
  stream->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace

Calls calls() {
  return counts;
}
Calls& count() {
  return counts;
}
void break_device(size_t n_call, bool asynchronous) {
  plan = {true, n_call == 0, asynchronous, n_call};
}
void repair_device() {
  plan = {};
}
void fail_graphs(GraphFailure at) {
  graph_failure = at;
}
bool carries_out() {
  return !plan.broken;
}
bool is_capturing() {
  return n_capturing != 0;
}

cudaError_t reach_device(bool waits) {
  if (plan.planned && !plan.broken && plan.n_left-- == 0) plan.broken = true;
  return plan.broken && (waits || !plan.asynchronous) ? cudaErrorIllegalAddress : cudaSuccess;
}

cudaError_t begin_launch(cudaStream_t stream, bool& records) {
  records = stream != nullptr && stream->capture != nullptr;
  if (!records) {
    ++counts.n_launch;
    return reach_device(false);
  }
  if (graph_failure == GraphFailure::within) stream->invalid = true;
  return stream->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t begin_copy(cudaStream_t stream, bool& records) {
  const size_t n_launch = counts.n_launch;
  const cudaError_t error = begin_launch(stream, records);
  counts.n_launch = n_launch;
  counts.n_copy += records ? 0 : 1;
  return error;
}

void record(cudaStream_t stream, std::function<void()> work) {
  stream->capture->work.push_back(std::move(work));
}

}  // namespace emulated

using emulated::GraphFailure;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
  *out = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++emulated::counts.n_wait;
  const cudaError_t error = emulated::refuse_in_capture(stream);
  return error != cudaSuccess ? error : emulated::reach_device(true);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (emulated::graph_failure == GraphFailure::begin) return cudaErrorNotSupported;
  stream->capture = std::make_unique<EmulatedGraph>();
  stream->invalid = false;
  ++emulated::counts.n_capture;
  ++emulated::n_capturing;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  *out = nullptr;
  if (stream == nullptr || stream->capture == nullptr) return cudaErrorInvalidValue;
  const std::unique_ptr<EmulatedGraph> graph = std::move(stream->capture);
  --emulated::n_capturing;
  if (emulated::graph_failure == GraphFailure::end) return cudaErrorMemoryAllocation;
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  *out = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t graph,
                                          unsigned long long) {
  *out = nullptr;
  if (emulated::graph_failure == GraphFailure::instantiate) return cudaErrorMemoryAllocation;
  *out = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  cudaError_t error = emulated::refuse_in_capture(stream);
  if (error == cudaSuccess) error = emulated::reach_device(false);
  if (error != cudaSuccess) return error;
  if (emulated::graph_failure == GraphFailure::launch) return cudaErrorMemoryAllocation;
  ++emulated::counts.n_graph_launch;
  if (!emulated::carries_out()) return cudaSuccess;
  for (const std::function<void()>& work : graph->work) work();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}

// Events: a stream has always come as far as it was asked to.
struct EmulatedEvent {};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  *out = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  return event == nullptr ? cudaErrorInvalidValue : emulated::reach_device(false);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return event == nullptr ? cudaErrorInvalidValue : emulated::reach_device(true);
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
  *ms = 0;
  return emulated::reach_device(true);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return event == nullptr ? cudaErrorInvalidValue : emulated::reach_device(false);
}

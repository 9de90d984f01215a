// Owns: the part of CUDA that kernels/cuda/ uses, carried out by the CPU, so that its kernels and
// the backend around them run in tests on machines without a GPU. Threads of a block are fibers,
// run one after the other; blocks too. Barriers and warp operations that not all threads reach,
// which hang or race on a GPU, abort here with the kernel's name. Device memory is the heap, so
// AddressSanitizer sees a kernel's accesses out of bounds; fresh memory is filled with NaN.
// What it cannot show: races between threads of a block, and the instructions behind
// kernels/cuda/device_ops.h.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <utility>

#define SPLITD_EMULATED_CUDA 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline unsigned min(unsigned a, unsigned b) {
  return a < b ? a : b;
}

inline dim3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads();

namespace emulated {

inline constexpr unsigned kMostThreads = 1024;

// Runs the body once for every thread of every block.
void run(const char* name, dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*),
         const void* arguments);
unsigned char* dynamic_shared();

// Every lane of the calling thread's warp gives `bytes` bytes (at most 64) and gets all 32 of them,
// kLaneBytes apart. All 32 have to come.
const unsigned char* warp_exchange(const void* mine, size_t bytes);
inline constexpr size_t kLaneBytes = 64;

// A copy is carried out when the thread that made it waits, and no earlier; what is left of `size`
// becomes zero. A thread that ends without having waited dies.
void copy_async(void* to, const void* from, unsigned bytes, unsigned size);
void wait_for_copies();

}  // namespace emulated

// The host's side. What a stream is given is complete when the call returns, or recorded where the
// stream is being captured; a graph is what was recorded, with its arguments as they were then.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorIllegalAddress = 700,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0;
inline constexpr unsigned cudaEventDisableTiming = 2;

enum cudaDeviceAttr {
  cudaDevAttrClockRate,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMemoryClockRate,
  cudaDevAttrGlobalMemoryBusWidth,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
};
struct cudaDeviceProp {
  char name[256];
};

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* out);
cudaError_t cudaGetDeviceCount(int* out);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int device);
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaMalloc(void** out, size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMallocHost(void** out, size_t bytes);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream);
cudaError_t cudaMemset(void* data, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end);  // none
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out);
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* out, cudaGraph_t graph,
                                          unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);

namespace emulated {

// What cudaMemGetInfo calls free and cudaMalloc gives at most, for tests of refusals.
void set_memory(size_t bytes);
size_t allocated();  // bytes that are not freed
void set_cublas(bool there);

// What was asked for since the program began, for tests of what a step costs.
struct Calls {
  size_t n_launch = 0;        // of kernels, those of graphs not counted
  size_t n_graph_launch = 0;  // of graphs
  size_t n_capture = 0;
  size_t n_copy = 0;
  size_t n_wait = 0;   // for a stream
  size_t n_alloc = 0;  // device and pinned memory
};
Calls calls();

// After `n_call` more calls that reach the device it is broken: nothing is carried out any more and
// every call says so, as after an illegal access; `asynchronous`: only what waits for it does.
void break_device(size_t n_call, bool asynchronous);
void repair_device();

// What of capturing a graph fails, until it is said otherwise.
enum class GraphFailure { none, begin, within, end, instantiate, launch };
void fail_graphs(GraphFailure at);

// A kernel's launch: carried out, or recorded with a copy of its body.
cudaError_t begin_launch(cudaStream_t stream, bool& records);
bool carries_out();  // false: the device is broken, which nobody was told yet
void record(cudaStream_t stream, std::function<void()> work);
template <class Body>
cudaError_t launch(cudaStream_t stream, const char* name, dim3 grid, dim3 block,
                   size_t shared_bytes, const Body& body) {
  bool records = false;
  const cudaError_t error = begin_launch(stream, records);
  if (error != cudaSuccess) return error;
  const auto go = [name, grid, block, shared_bytes](const Body& what) {
    emulated::run(
        name, grid, block, shared_bytes,
        [](const void* self) { (*static_cast<const Body*>(self))(); }, &what);
  };
  if (records) {
    record(stream, [go, body] { go(body); });
  } else if (carries_out()) {
    go(body);
  }
  return cudaSuccess;
}

}  // namespace emulated

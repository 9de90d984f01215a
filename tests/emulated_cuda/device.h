// What the parts of the emulation share: whether its device still works, what is counted.
#pragma once

#include <cuda_runtime.h>

namespace emulated {

// Of a call that the device has to carry out; `waits` for what it was given before. cudaSuccess,
// yet carries_out() is false: it is broken and this call cannot know.
cudaError_t reach_device(bool waits);
cudaError_t begin_copy(cudaStream_t stream, bool& records);
bool is_capturing();  // any stream
Calls& count();

}  // namespace emulated

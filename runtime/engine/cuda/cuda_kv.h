// Owns: the keys and values of one session in device memory, all of it reserved when it is made.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/types.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace splitd {

class CudaKv final : public Kv {
 public:
  static uint64_t bytes_for(const ModelConfig& config, LayerRange range, const KvShape& shape);
  static Result<std::unique_ptr<CudaKv>> make(const ModelConfig& config, LayerRange range,
                                              const KvShape& shape, cudaStream_t stream);

  uint64_t bytes() const override { return data_.bytes(); }
  const KvShape& shape() const { return shape_; }
  kernels::cuda::KvType type() const { return type_; }
  // On the device, one for each layer of the range.
  const kernels::cuda::KvView* views() const { return views_.as<kernels::cuda::KvView>(); }

 private:
  CudaKv() = default;

  KvShape shape_;
  kernels::cuda::KvType type_ = kernels::cuda::KvType::f16;
  DeviceBuffer data_;
  DeviceBuffer views_;
};

}  // namespace splitd

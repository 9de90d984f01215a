// Owns: which of the kernels' types of weights a tensor of a file is.
#pragma once

#include "kernels/matmul.h"
#include "runtime/base/result.h"
#include "runtime/model/formats/dtype.h"

namespace splitd {

// Refuses what no kernel computes with, naming what they do.
[[nodiscard]] Result<kernels::WeightType> weight_type(DType dtype);

}  // namespace splitd

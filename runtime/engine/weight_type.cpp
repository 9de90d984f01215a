#include "runtime/engine/weight_type.h"

#include <string>

#include "kernels/quantised.h"

namespace splitd {

Result<kernels::WeightType> weight_type(DType dtype) {
  std::string names;
  for (size_t i = 0; i < kernels::kStoredTypes; ++i) {
    const auto type = static_cast<kernels::WeightType>(i);
    if (dtype_name(dtype) == kernels::type_name(type)) return type;
    names += std::string(i == 0 ? "" : ", ") + kernels::type_name(type);
  }
  return model_error("weights of type " + std::string(dtype_name(dtype)) +
                     " cannot be computed with; " + names + " can");
}

}  // namespace splitd

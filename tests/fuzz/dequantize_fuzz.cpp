// Any bytes as blocks: every value is written, nothing beside them is, and a block's values do not
// depend on its neighbours or its alignment.
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/model/formats/dequantize.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  if (size == 0) return 0;
  const auto dtype = static_cast<DType>(data[0] % (static_cast<unsigned>(DType::q6_k) + 1));
  const DTypeInfo& info = dtype_info(dtype);
  const size_t n_blocks = (size - 1) / info.block_bytes;
  if (!can_dequantize(dtype) || n_blocks == 0) return 0;
  const size_t n_values = n_blocks * info.block_values;
  const std::vector<std::byte> exact(
      reinterpret_cast<const std::byte*>(data) + 1,
      reinterpret_cast<const std::byte*>(data) + 1 + n_blocks * info.block_bytes);
  std::vector<float> values(n_values);
  dequantize(dtype, exact.data(), n_values, values.data());

  const size_t last = n_blocks - 1;
  std::vector<float> alone(info.block_values);
  dequantize(dtype, reinterpret_cast<const std::byte*>(data) + 1 + last * info.block_bytes,
             info.block_values, alone.data());
  if (std::memcmp(alone.data(), values.data() + last * info.block_values,
                  alone.size() * sizeof(float)) != 0) {
    std::abort();
  }
  return 0;
}

// random_run.h over the CUDA backend: the rows of a stage that serves several sessions at once, in
// trees, from graphs, abandoned between layers, are those of their tokens computed alone by plain
// launches.
#include <gtest/gtest.h>

#include "tests/runtime/engine/cuda/cuda_model.h"
#include "tests/runtime/engine/random_run.h"
#include "tests/runtime/engine/random_seed.h"

namespace splitd {
namespace {

#if defined(SPLITD_EMULATED_CUDA)
const uint64_t kOps = number_from_environment("SPLITD_RANDOM_OPS", 0) / 100 + 200;
#else
const uint64_t kOps = random_ops() / 12;
#endif

TEST(CudaRandom, AgreesWithTheNaiveModel) {
  if (!has_cuda_device()) GTEST_SKIP() << "skipped: no device";
  const SyntheticModel model(kSmallShape, DType::bf16, false);
  const std::unique_ptr<Backend> backend = cuda_backend(model, true);
  const std::unique_ptr<Backend> reference = cuda_backend(model, false);
  ClientShape shape = kShort;
  shape.kv.n_ctx = 24;
  run_exactly({*backend, *reference, shape, kOps, 5, 1}, random_seed(7));
  shape.kv.type = KvType::q8;
  run_exactly({*backend, *reference, shape, kOps, 64, 3}, random_seed(8));
}

}  // namespace
}  // namespace splitd

// Any bytes as a .gguf model: metadata into a config, tensors against it, and what is accepted can
// be fingerprinted, viewed and named.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "runtime/base/files.h"
#include "runtime/model/inspect.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const FileDescriptor file(::memfd_create("gguf", MFD_CLOEXEC));
  if (!file.valid()) return 0;
  if (!write_all(file.get(), std::as_bytes(std::span(data, size))).ok()) return 0;
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  if (!is_gguf(path)) return 0;
  const Result<Inspection> inspection = Inspection::open(path);
  if (!inspection) return 0;
  const ModelFiles* model = inspection->model();
  if (model == nullptr || !check_config(model->config()).ok()) std::abort();
  const uint32_t n_layer = model->config().n_layer;
  for (uint32_t layer = 0; layer < n_layer; ++layer) (void)model->layer_ranges(layer);
  (void)model->weights({0, n_layer}, true, true);
  return 0;
}

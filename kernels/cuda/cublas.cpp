// dlopen and a function table behind cublas.h. The declarations are those of cublas_api.h, whose
// binary interface has been the same since cuBLAS 11; the header is not needed to build.
#include "kernels/cuda/cublas.h"

#include <dlfcn.h>
#include <library_types.h>

#include <utility>

namespace splitd::kernels::cuda {
namespace {

constexpr int kOpNone = 0, kOpTransposed = 1;
constexpr int kCompute32F = 68;
constexpr int kDefaultAlgorithm = -1;

// Newest first: a library newer than what this was built with still has these functions.
constexpr const char* kNames[] = {"libcublas.so.14", "libcublas.so.13", "libcublas.so.12",
                                  "libcublas.so.11", "libcublas.so"};

}  // namespace

struct Cublas::Library {
  using Status = int;
  using Handle = void*;

  void* file = nullptr;
  Status (*create)(Handle*) = nullptr;
  Status (*destroy)(Handle) = nullptr;
  Status (*get_property)(libraryPropertyType, int*) = nullptr;
  Status (*set_stream)(Handle, cudaStream_t) = nullptr;
  Status (*set_workspace)(Handle, void*, size_t) = nullptr;
  Status (*gemm)(Handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
                 cudaDataType a_type, int lda, const void* b, cudaDataType b_type, int ldb,
                 const void* beta, void* c, cudaDataType c_type, int ldc, int compute,
                 int algorithm) = nullptr;

  ~Library() {
    if (file != nullptr) dlclose(file);
  }

  template <class Function>
  bool find(const char* name, Function& out, std::string& problem) {
    out = reinterpret_cast<Function>(dlsym(file, name));
    if (out == nullptr) problem = std::string("cuBLAS has no function ") + name;
    return out != nullptr;
  }

  bool find_all(std::string& problem) {
    return find("cublasCreate_v2", create, problem) && find("cublasDestroy_v2", destroy, problem) &&
           find("cublasGetProperty", get_property, problem) &&
           find("cublasSetStream_v2", set_stream, problem) &&
           find("cublasSetWorkspace_v2", set_workspace, problem) &&
           find("cublasGemmEx", gemm, problem);
  }

  // The newest that is whole.
  static std::unique_ptr<Library> load(std::string& problem) {
    problem = "cuBLAS was not found: no libcublas.so.13 or .12 where libraries are looked for";
    for (const char* name : kNames) {
      auto out = std::make_unique<Library>();
      // It stays once it is there: it has threads and handlers of its own.
      out->file = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
      if (out->file != nullptr && out->find_all(problem)) return out;
    }
    return nullptr;
  }

  int version() const {
    int major = 0, minor = 0, patch = 0;
    get_property(MAJOR_VERSION, &major);
    get_property(MINOR_VERSION, &minor);
    get_property(PATCH_LEVEL, &patch);
    return major * 10000 + minor * 100 + patch;
  }
};

std::unique_ptr<Cublas> Cublas::open(cudaStream_t stream, void* workspace, size_t workspace_bytes,
                                     std::string& problem) {
  auto out = std::unique_ptr<Cublas>(new Cublas);
  out->library_ = Library::load(problem);
  if (out->library_ == nullptr) return nullptr;
  const Library& library = *out->library_;
  int status = library.create(&out->handle_);
  // The stream first: setting it gives the handle back the library's own workspace.
  if (status == 0) status = library.set_stream(out->handle_, stream);
  if (status == 0) status = library.set_workspace(out->handle_, workspace, workspace_bytes);
  if (status == 0) return out;
  problem = "cuBLAS does not start here: status " + std::to_string(status);
  return nullptr;
}

int Cublas::find(std::string& problem) {
  const std::unique_ptr<Library> library = Library::load(problem);
  return library == nullptr ? 0 : library->version();
}

Cublas::~Cublas() {
  if (handle_ != nullptr) library_->destroy(handle_);
}

int Cublas::version() const {
  return library_->version();
}

// cuBLAS counts columns first: what it calls A is W transposed, and its result is C transposed.
cudaError_t Cublas::gemm(const GemmJob& job) {
  const float one = 1, zero = 0;
  const cudaDataType type = job.type == HalfType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
  const auto m = static_cast<int>(job.m), n = static_cast<int>(job.n), k = static_cast<int>(job.k);
  const int status = library_->gemm(handle_, kOpTransposed, kOpNone, n, m, k, &one, job.w, type, k,
                                    job.a, type, k, &zero, job.c, CUDA_R_32F,
                                    static_cast<int>(job.c_stride), kCompute32F, kDefaultAlgorithm);
  return status == 0 ? cudaSuccess : cudaErrorUnknown;
}

}  // namespace splitd::kernels::cuda

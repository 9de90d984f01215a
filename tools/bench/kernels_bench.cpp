// Owns: how fast the matrix products run on this machine, beside its own streaming read, measured
// in turns. Every sample reads weights that no cache holds any more. Time is the slowest thread's
// own CPU time, and the best twentieth of the samples counts: what neighbours take is not ours.
//
//   kernels_bench [--isa NAME] [--set native|exact] [--weights BF16|F16|F32|Q4_0|…|q8|q4]
//   [--threads N]
//                 [--k K]... [--rows M]... [--samples N]
#include <strings.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/quantised.h"
#include "kernels/select.h"

namespace {

using namespace splitd::kernels;

constexpr size_t kWeightsBytes = size_t{640} << 20;  // far beyond any cache
constexpr size_t kSampleBytes = size_t{24} << 20;

struct Options {
  std::string isa, set = "native", weights = "BF16";
  unsigned threads = 1;
  size_t samples = 60;
  std::vector<size_t> k, rows;
};

// Anonymous memory in small pages, as mapped files have; touched.
template <class T>
class Memory {
 public:
  explicit Memory(size_t count) : bytes_((count * sizeof(T) + 8191) / 4096 * 4096) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) std::abort();
    std::memset(data_, 0, bytes_);
  }
  ~Memory() { munmap(data_, bytes_); }
  Memory(const Memory&) = delete;
  T* data() { return static_cast<T*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) uint64_t sum_avx512(const std::byte* from, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t at = 0; at + 256 <= bytes; at += 256) {
    sums[0] = _mm512_add_epi64(sums[0], _mm512_loadu_si512(from + at));
    sums[1] = _mm512_add_epi64(sums[1], _mm512_loadu_si512(from + at + 64));
    sums[2] = _mm512_add_epi64(sums[2], _mm512_loadu_si512(from + at + 128));
    sums[3] = _mm512_add_epi64(sums[3], _mm512_loadu_si512(from + at + 192));
  }
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(lanes, _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]),
                                             _mm512_add_epi64(sums[2], sums[3])));
  uint64_t total = 0;
  for (const uint64_t lane : lanes) total += lane;
  return total;
}
#endif

uint64_t streaming_sum(const std::byte* from, size_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return sum_avx512(from, bytes);
#endif
  uint64_t sums[8] = {};
  for (size_t at = 0; at + 64 <= bytes; at += 64) {
    for (size_t j = 0; j < 8; ++j) {
      uint64_t value;
      std::memcpy(&value, from + at + 8 * j, 8);
      sums[j] += value;
    }
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

// Threads that wait spinning, so that a sample starts everywhere at once.
class Team {
 public:
  explicit Team(unsigned count) : seconds_(count) {
    for (unsigned id = 1; id < count; ++id) workers_.emplace_back([this, id] { serve(id); });
  }
  ~Team() {
    job_ = nullptr;
    round_.fetch_add(1);
    for (std::thread& worker : workers_) worker.join();
  }
  unsigned count() const { return static_cast<unsigned>(seconds_.size()); }

  // The CPU time of the slowest thread.
  template <class F>
  double run(F&& work) {
    argument_ = &work;
    job_ = [](void* self, unsigned id) { (*static_cast<std::remove_reference_t<F>*>(self))(id); };
    left_.store(count() - 1);
    round_.fetch_add(1);
    timed(0);
    while (left_.load() != 0) {
    }
    return *std::max_element(seconds_.begin(), seconds_.end());
  }

 private:
  void timed(unsigned id) {
    const double start = cpu_seconds();
    job_(argument_, id);
    seconds_[id] = cpu_seconds() - start;
  }
  void serve(unsigned id) {
    for (unsigned seen = 0;; ++seen) {
      while (round_.load() == seen) {
      }
      if (job_ == nullptr) return;
      timed(id);
      left_.fetch_sub(1);
    }
  }
  void (*job_)(void*, unsigned) = nullptr;
  void* argument_ = nullptr;
  std::atomic<unsigned> round_{0}, left_{0};
  std::vector<double> seconds_;
  std::vector<std::thread> workers_;
};

double best_of(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 20];
}

// M rows by as many weight rows of length k as a sample takes, each time others; thread by thread
// its own part, in the pieces that an engine would claim.
void measure(Team& team, const MatmulKernel& kernel, std::byte* weights, WeightType type, size_t k,
             size_t m, size_t samples, double& one_row) {
  const size_t row_bytes = splitd::kernels::row_bytes(type, k), unit = 64 * team.count();
  const size_t wanted = kSampleBytes * team.count() / row_bytes / std::max<size_t>(1, m / 3);
  const size_t n = std::max(unit, wanted / unit * unit);
  Memory<float> a(m * k), c(m * n);
  for (size_t i = 0; i < m * k; ++i) {
    a.data()[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 20) - 2048) * 1e-3f;
  }
  Memory<std::byte> prepared(kernel.prepared_bytes(m, k));
  const size_t scratch_bytes = (kernel.scratch_bytes(m, k) + 4096) / 64 * 64;
  Memory<std::byte> scratch(scratch_bytes * team.count());
  kernel.prepare(a.data(), k, nullptr, m, k, 0, m, prepared.data());

  std::vector<double> reads, products;
  const size_t share = n / team.count();
  size_t at = 0;
  const auto next = [&] {
    const std::byte* from = weights + at;
    at += n * row_bytes;
    if (at + n * row_bytes > kWeightsBytes) at = 0;
    return from;
  };
  std::atomic<uint64_t> sink{0};
  for (size_t sample = 0; sample < samples; ++sample) {
    const std::byte* w = next();
    reads.push_back(team.run([&](unsigned id) {
      sink += streaming_sum(w + id * share * row_bytes, share * row_bytes);
    }));
    w = next();
    products.push_back(team.run([&](unsigned id) {
      const size_t claim = kernel.claim_rows(m, k), end = (id + 1) * share;
      for (size_t begin = id * share; begin < end; begin += claim) {
        kernel.run({.prepared = prepared.data(),
                    .w = w,
                    .c = c.data(),
                    .scratch = scratch.data() + id * scratch_bytes,
                    .c_stride = n,
                    .m = m,
                    .k = k,
                    .n_begin = begin,
                    .n_end = std::min(end, begin + claim)});
      }
    }));
  }
  const double bytes = static_cast<double>(n * row_bytes);
  const double read = bytes / best_of(reads) / 1e9, product = bytes / best_of(products) / 1e9;
  if (m == 1) one_row = product;
  std::printf("%6zu %4zu %9.1f %8.2f %8.2f %8.0f%% %8.2f\n", k, m,
              product * 2 * static_cast<double>(m * k) / static_cast<double>(row_bytes), product,
              read, 100 * product / read, one_row > 0 ? one_row / product : 0.0);
  std::fflush(stdout);
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const char* value = argv[i + 1];
    const size_t number = std::strtoul(value, nullptr, 10);
    if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--set") {
      options.set = value;
    } else if (flag == "--weights") {
      options.weights = value;
    } else if (flag == "--threads") {
      options.threads = static_cast<unsigned>(std::max<size_t>(1, number));
    } else if (flag == "--samples") {
      options.samples = std::max<size_t>(1, number);
    } else if (flag == "--k" && number != 0) {
      options.k.push_back(number);
    } else if (flag == "--rows" && number != 0) {
      options.rows.push_back(number);
    } else {
      return false;
    }
  }
  if (options.k.empty()) options.k = {576, 2048, 8192};
  if (options.rows.empty()) options.rows = {1, 2, 4, 8, 16, 32, 128, 512};
  return argc % 2 == 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "kernels_bench: its flags stand at the head of its source\n");
    return 2;
  }
  const auto table = select_table(options.isa);
  if (!table) {
    std::fprintf(stderr, "%s\n", table.error().message.c_str());
    return 2;
  }
  WeightType type = WeightType::f32;
  while (strcasecmp(type_name(type), options.weights.c_str()) != 0) {
    if (type == WeightType::p6_k) {
      std::fprintf(stderr, "no such weights: %s\n", options.weights.c_str());
      return 2;
    }
    type = static_cast<WeightType>(static_cast<int>(type) + 1);
  }
  const MatmulKernels& kernels = (*table)->matmul;
  const MatmulKernel& kernel = is_quantised(type)       ? kernels.quantised.of(type)
                               : options.set == "exact" ? kernels.exact.of(type)
                                                        : kernels.native.of(type);
  Memory<uint32_t> weights(kWeightsBytes / 4);  // 0x3cXX3cXX and its signs: small in every type
  for (size_t i = 0; i < kWeightsBytes / 4; ++i) {
    weights.data()[i] = (static_cast<uint32_t>(i) * 2654435761u & 0x80ff80ffu) | 0x3c003c00u;
  }
  Team team(options.threads);
  std::printf("%s %s %s, %u thread(s): %s\n", (*table)->name, options.set.c_str(),
              options.weights.c_str(), options.threads, kernel.order);
  std::printf("%6s %4s %9s %8s %8s %9s %8s\n", "K", "M", "GFLOP/s", "GB/s", "stream", "of it",
              "of M=1");
  for (const size_t k : options.k) {
    double one_row = 0;
    for (const size_t m : options.rows) {
      if (k % block_values(type) != 0) continue;
      measure(team, kernel, reinterpret_cast<std::byte*>(weights.data()), type, k, m,
              options.samples, one_row);
    }
  }
  return 0;
}

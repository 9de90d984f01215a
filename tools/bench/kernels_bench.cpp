// Owns: how fast the matrix products run on this machine, beside its own streaming read, measured
// in the same rounds. Prints the best of several short rounds: neighbours only ever slow one down.
//
//   kernels_bench [--isa NAME] [--set native|exact] [--weights bf16|f16|f32] [--threads N]
//                 [--shape NxK]... [--rows M]... [--rounds N]
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/select.h"

namespace {

using namespace splitd::kernels;
using Clock = std::chrono::steady_clock;

constexpr size_t kStreamBytes = size_t{512} << 20;  // far beyond any cache

struct Options {
  std::string isa;
  std::string set = "native";
  std::string weights = "bf16";
  unsigned threads = 1;
  int rounds = 7;
  std::vector<std::pair<size_t, size_t>> shapes;  // N, K
  std::vector<size_t> rows;
};

struct Memory {
  explicit Memory(size_t bytes_in) : bytes((bytes_in + 4095) / 4096 * 4096) {
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) std::abort();
    if (getenv("HUGE") != nullptr) madvise(data, bytes, MADV_HUGEPAGE);
  }
  ~Memory() { munmap(data, bytes); }
  Memory(const Memory&) = delete;
  template <class T>
  T* as() {
    return static_cast<T*>(data);
  }
  size_t bytes;
  void* data;
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) uint64_t sum_avx512(const std::byte* from, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t at = 0; at < bytes; at += 256) {
    for (size_t j = 0; j < 4; ++j) {
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(from + at + 64 * j));
    }
  }
  const __m512i sum =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(lanes, sum);
  uint64_t total = 0;
  for (const uint64_t lane : lanes) total += lane;
  return total;
}
#endif

uint64_t sum_plain(const std::byte* from, size_t bytes) {
  uint64_t sums[8] = {};
  for (size_t at = 0; at < bytes; at += 64) {
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

uint64_t streaming_sum(const std::byte* from, size_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return sum_avx512(from, bytes);
#endif
  return sum_plain(from, bytes);
}

// Threads that wait spinning, so that starting a round costs about a microsecond.
class Team {
 public:
  explicit Team(unsigned count) : count_(count) {
    for (unsigned id = 1; id < count; ++id) workers_.emplace_back([this, id] { serve(id); });
  }
  ~Team() {
    job_ = nullptr;
    round_.fetch_add(1);
    for (std::thread& worker : workers_) worker.join();
  }
  template <class F>
  double seconds(F&& work) {
    struct Call {
      static void go(void* self, unsigned id) {
        (*static_cast<std::remove_reference_t<F>*>(self))(id);
      }
    };
    argument_ = &work;
    job_ = Call::go;
    done_.store(0);
    const auto start = Clock::now();
    round_.fetch_add(1);
    Call::go(argument_, 0);
    while (done_.load() + 1 != count_) {
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  unsigned count() const { return count_; }

 private:
  void serve(unsigned id) {
    for (unsigned seen = 0;;) {
      while (round_.load() == seen) {
      }
      ++seen;
      if (job_ == nullptr) return;
      job_(argument_, id);
      done_.fetch_add(1);
    }
  }
  unsigned count_;
  void (*job_)(void*, unsigned) = nullptr;
  void* argument_ = nullptr;
  std::atomic<unsigned> round_{0}, done_{0};
  std::vector<std::thread> workers_;
};

double stream_rate(Team& team, const std::byte* memory, size_t bytes) {
  static std::atomic<uint64_t> sink;
  const double seconds = team.seconds([&](unsigned id) {
    const size_t share = bytes / team.count() / 4096 * 4096;
    sink += streaming_sum(memory + id * share, share);
  });
  return static_cast<double>(bytes) / seconds / 1e9;
}

struct Product {
  const MatmulKernel& kernel;
  size_t n, k, m, weight_bytes;
  size_t copies;  // of the weights, so that none is still in a cache when its turn comes
  const std::byte* weights;
  const float* a;
  void* prepared;
  std::vector<void*> scratch;
  float* c;
};

// Each thread walks its own contiguous part in claims, then helps the others: what lies behind a
// claim, which a kernel prefetches, is mostly its own next one.
double one_pass(Team& team, const Product& product) {
  const size_t claim = product.kernel.claim_rows(product.m, product.k);
  const size_t matrix_bytes = product.n * product.k * product.weight_bytes;
  struct alignas(64) Part {
    std::atomic<size_t> next;
    size_t end;
  };
  const size_t count = team.count();
  std::unique_ptr<Part[]> parts(new Part[product.copies * count]);
  for (size_t i = 0; i < product.copies * count; ++i) {
    const size_t share = ((product.n + count - 1) / count + claim - 1) / claim * claim;
    const size_t id = i % count;
    parts[i].next = std::min(product.n, id * share);
    parts[i].end = std::min(product.n, (id + 1) * share);
  }
  product.kernel.prepare(product.a, product.k, nullptr, product.m, product.k, 0, product.m,
                         product.prepared);
  return team.seconds([&](unsigned id) {
    for (size_t copy = 0; copy < product.copies; ++copy) {
      for (size_t other = 0; other < count; ++other) {
        Part& part = parts[copy * count + (id + other) % count];
        for (;;) {
          const size_t begin = part.next.fetch_add(claim);
          if (begin >= part.end) break;
          product.kernel.run({.prepared = product.prepared,
                              .w = product.weights + copy * matrix_bytes,
                              .c = product.c,
                              .scratch = product.scratch[id],
                              .c_stride = product.n,
                              .m = product.m,
                              .k = product.k,
                              .n_begin = begin,
                              .n_end = std::min(part.end, begin + claim)});
        }
      }
    }
  });
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--isa")
      options.isa = value;
    else if (flag == "--set")
      options.set = value;
    else if (flag == "--weights")
      options.weights = value;
    else if (flag == "--threads")
      options.threads = static_cast<unsigned>(std::atoi(value));
    else if (flag == "--rounds")
      options.rounds = std::atoi(value);
    else if (flag == "--rows")
      options.rows.push_back(std::strtoul(value, nullptr, 10));
    else if (flag == "--shape") {
      char* end = nullptr;
      const size_t n = std::strtoul(value, &end, 10);
      options.shapes.emplace_back(n, *end == 'x' ? std::strtoul(end + 1, nullptr, 10) : 0);
    } else
      return false;
  }
  if (options.shapes.empty()) options.shapes = {{8192, 2048}, {2048, 8192}, {1536, 576}};
  if (options.rows.empty()) options.rows = {1, 2, 4, 8, 16, 32, 128, 512};
  return argc % 2 == 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "kernels_bench: see the head of tools/bench/kernels_bench.cpp\n");
    return 2;
  }
  const auto table = select_table(options.isa);
  if (!table) {
    std::fprintf(stderr, "%s\n", table.error().message.c_str());
    return 2;
  }
  const MatmulSet& set = options.set == "exact" ? (*table)->matmul.exact : (*table)->matmul.native;
  const WeightType type = options.weights == "f32"   ? WeightType::f32
                          : options.weights == "f16" ? WeightType::f16
                                                     : WeightType::bf16;
  const size_t weight_bytes = type == WeightType::f32 ? 4 : 2;
  const MatmulKernel& kernel = set.of(type);

  Memory weights(kStreamBytes);
  {  // bf16 and f16 and f32 of moderate size all alike: 0x3cXX3cXX and its signs
    uint32_t state = 1;
    auto* words = weights.as<uint32_t>();
    for (size_t i = 0; i < kStreamBytes / 4; ++i) {
      state = state * 1664525u + 1013904223u;
      words[i] = (state & 0x80ff80ffu) | 0x3c003c00u;
    }
  }
  Team team(options.threads);
  std::printf("%s %s %s, %u thread(s): %s\n", (*table)->name, options.set.c_str(),
              options.weights.c_str(), options.threads, kernel.order);
  std::printf("%6s %6s %4s %10s %8s %8s %9s %8s\n", "N", "K", "M", "us", "GFLOP/s", "GB/s",
              "of stream", "of M=1");
  for (const auto& [n, k] : options.shapes) {
    const size_t m_max = *std::max_element(options.rows.begin(), options.rows.end());
    Memory a(m_max * k * 4), c(m_max * n * 4), prepared(kernel.prepared_bytes(m_max, k));
    for (size_t i = 0; i < m_max * k; ++i) {
      a.as<float>()[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 20) - 2048) * 1e-3f;
    }
    std::memset(c.data, 0, c.bytes);
    std::vector<std::unique_ptr<Memory>> scratch;
    std::vector<void*> scratch_data;
    for (unsigned id = 0; id < options.threads; ++id) {
      scratch.push_back(std::make_unique<Memory>(kernel.scratch_bytes(m_max, k) + 64));
      scratch_data.push_back(scratch.back()->data);
    }
    const size_t matrix_bytes = n * k * weight_bytes;
    std::vector<double> best(options.rows.size(), 1e9);
    std::vector<size_t> copies(options.rows.size());
    double stream = 0;
    for (int round = 0; round < options.rounds; ++round) {
      for (size_t i = 0; i < options.rows.size(); ++i) {
        stream = std::max(stream, stream_rate(team, weights.as<std::byte>(), kStreamBytes));
        const size_t m = options.rows[i];
        copies[i] = m <= 4     ? kStreamBytes / matrix_bytes
                    : m <= 32  ? kStreamBytes / 2 / matrix_bytes
                    : m <= 128 ? 2
                               : 1;
        best[i] = std::min(best[i], one_pass(team, {kernel, n, k, m, weight_bytes, copies[i],
                                                    weights.as<std::byte>(), a.as<float>(),
                                                    prepared.data, scratch_data, c.as<float>()}) /
                                        static_cast<double>(copies[i]));
      }
    }
    for (size_t i = 0; i < options.rows.size(); ++i) {
      const size_t m = options.rows[i];
      const double gbs = static_cast<double>(matrix_bytes) / best[i] / 1e9;
      std::printf("%6zu %6zu %4zu %10.1f %8.1f %8.2f %8.0f%% %8.2f\n", n, k, m, best[i] * 1e6,
                  2e-9 * static_cast<double>(m * n * k) / best[i], gbs, 100 * gbs / stream,
                  best[i] / best[0]);
    }
    std::printf("  streaming read %.2f GB/s\n", stream);
  }
  return 0;
}

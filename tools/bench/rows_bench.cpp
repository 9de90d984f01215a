// Owns: how fast attention and the row kernels run on this machine, one thread, in this thread's
// own CPU time: what others take away is not counted. Attention of one row stands beside a plain
// read of the same bytes in the same rounds: only that ratio counts. Prints the best of several
// short rounds: neighbours only ever slow one down.
//
//   rows_bench [ISA [rows|many|one [SHAPE]]]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/select.h"

namespace {

using namespace splitd::kernels;

constexpr int kRounds = 7;

double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// The best time of one call, from rounds of at least 10 ms.
double best(const std::function<void()>& work) {
  work();
  double result = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    int calls = 0;
    const double start = now();
    double spent = 0;
    while (spent < 0.01) {
      work();
      ++calls;
      spent = now() - start;
    }
    result = std::min(result, spent / calls);
  }
  return result;
}

volatile uint64_t sink;

typedef uint64_t Words __attribute__((vector_size(32), aligned(1)));

#if defined(__x86_64__)
__attribute__((target("avx2")))
#endif
void read_all(const std::vector<uint8_t>& bytes) {
  Words sums[8] = {};
  for (size_t at = 0; at + sizeof sums <= bytes.size(); at += sizeof sums) {
    const auto* words = reinterpret_cast<const Words*>(bytes.data() + at);
    for (size_t j = 0; j < 8; ++j) sums[j] += words[j];
  }
  for (const Words& sum : sums) sink = sum[0] + sum[1] + sum[2] + sum[3];
}

struct Shape {
  const char* name;
  uint32_t n_kv, n_head, d_head;  // n_head: query heads of one kv head
};

constexpr Shape kShapes[] = {{"SmolLM2-135M", 3, 3, 64}, {"Llama-3.2-1B", 8, 4, 64},
                             {"8B", 8, 4, 128},          {"Gemma-3-1B", 1, 4, 256},
                             {"Qwen2.5-7B", 4, 7, 128},  {"Phi-3-mini", 32, 1, 96}};

struct Cache {
  std::vector<std::vector<uint8_t>> k, v;  // by kv head
  size_t bytes = 0;

  Cache(const KernelTable& table, const Shape& shape, KvType type, uint32_t n_slot) {
    std::vector<float> row(shape.d_head);
    for (uint32_t head = 0; head < shape.n_kv; ++head) {
      k.emplace_back(kv_k_bytes(type, shape.d_head, n_slot));
      v.emplace_back(kv_v_bytes(type, shape.d_head, n_slot));
      bytes += k.back().size() + v.back().size();
      for (uint32_t slot = 0; slot < n_slot; ++slot) {
        for (size_t i = 0; i < row.size(); ++i) {
          row[i] = static_cast<float>((slot * 31 + i * 7 + head) % 17) * 0.1f - 0.8f;
        }
        table.attention.write_k(type, row.data(), shape.d_head, slot, k.back().data());
        table.attention.write_v(type, row.data(), shape.d_head, slot, v.back().data());
      }
    }
  }
};

// `n_row` rows that end at position n_ctx − 1, all kv heads, one layer.
struct Pass {
  const KernelTable& table;
  const Shape& shape;
  KvType type;
  const Cache& cache;
  uint32_t n_ctx;
  std::vector<float> q, out;
  std::vector<AttentionRow> rows;
  std::vector<uint8_t> scratch;

  Pass(const KernelTable& t, const Shape& s, KvType kv, const Cache& c, uint32_t ctx, uint32_t n)
      : table(t),
        shape(s),
        type(kv),
        cache(c),
        n_ctx(ctx),
        q(size_t{n} * s.n_head * s.d_head, 0.25f),
        out(q.size()),
        scratch(t.attention.scratch_bytes(s.d_head, s.n_head) + 64) {
    const size_t width = size_t{s.n_head} * s.d_head;
    for (uint32_t i = 0; i < n; ++i) {
      const uint32_t position = ctx - n + i;
      rows.push_back(
          {q.data() + i * width, out.data() + i * width, position, 0, position + 1, nullptr});
    }
  }

  void run() {
    void* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
    for (uint32_t head = 0; head < shape.n_kv; ++head) {
      table.attention.run({rows.data(), rows.size(), cache.k[head].data(), cache.v[head].data(),
                           type, shape.d_head, shape.n_head, n_ctx, 0.125f, 0, aligned});
    }
  }

  double flops() const {
    double positions = 0;
    for (const AttentionRow& row : rows) positions += row.position + 1;
    return positions * shape.n_kv * shape.n_head * shape.d_head * 4;
  }
};

void bench_decode(const KernelTable& table, const std::string& only) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "q8"};
  std::printf("one row: GB/s of K and V, share of a plain read of the same bytes\n");
  for (const Shape& shape : kShapes) {
    if (!only.empty() && only != shape.name) continue;
    for (const KvType type : {KvType::f16, KvType::bf16, KvType::f32, KvType::q8}) {
      std::printf("  %-13s %-4s", shape.name, kNames[static_cast<int>(type)]);
      for (const uint32_t n_ctx : {4096u, 32768u}) {
        const Cache cache(table, shape, type, n_ctx);
        Pass pass(table, shape, type, cache, n_ctx, 1);
        double read = 1e9, attend = 1e9;
        for (int round = 0; round < 4; ++round) {
          read = std::min(read, best([&] {
                            for (uint32_t head = 0; head < shape.n_kv; ++head) {
                              read_all(cache.k[head]);
                              read_all(cache.v[head]);
                            }
                          }));
          attend = std::min(attend, best([&] { pass.run(); }));
        }
        const double gigabytes = static_cast<double>(cache.bytes) * 1e-9;
        std::printf("   %5u: %6.1f (%3.0f %%, %6.0f us)", n_ctx, gigabytes / attend,
                    100 * read / attend, attend * 1e6);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

void bench_prefill(const KernelTable& table, const std::string& only) {
  std::printf("many rows, f16: GFLOP/s (rows after context)\n");
  for (const Shape& shape : kShapes) {
    if (!only.empty() && only != shape.name) continue;
    std::printf("  %-13s", shape.name);
    for (const auto& [n_row, n_ctx] : std::vector<std::pair<uint32_t, uint32_t>>{
             {512, 512}, {512, 4096}, {64, 4096}, {16, 4096}, {4, 4096}, {2, 4096}, {1, 4096}}) {
      const Cache cache(table, shape, KvType::f16, n_ctx);
      Pass pass(table, shape, KvType::f16, cache, n_ctx, n_row);
      std::printf("  %u/%u %.0f", n_row, n_ctx, pass.flops() / best([&] { pass.run(); }) * 1e-9);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

void bench_rows(const KernelTable& table) {
  const size_t n = 4096;
  std::vector<float> x(n, 0.5f), w(n, 1.5f), out(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 37) * 0.3f - 5;
  std::vector<float> logits(128256), values(40);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>((i * 2654435761u) % 1000003) * 1e-5f;
  }
  std::vector<uint32_t> ids(40);
  std::vector<uint8_t> wire(n * 4);
  int8_t exponent = 0;
  const RowKernels& rows = table.rows;
  const auto print = [](const char* name, double time) {
    std::printf("  %-24s %8.2f us\n", name, time * 1e6);
  };
  std::printf("rows of %zu\n", n);
  print("rms_norm", best([&] {
          rows.rms_norm({x.data(), w.data(), out.data(), n, 1e-5f, WeightType::f32, false});
        }));
  for (const auto& [name, gate] : std::vector<std::pair<const char*, Gate>>{
           {"silu", Gate::silu}, {"gelu_tanh", Gate::gelu_tanh}, {"gelu_erf", Gate::gelu_erf}}) {
    print(name, best([&, kind = gate] { rows.gate(kind, x.data(), w.data(), out.data(), n); }));
  }
  print("add", best([&] { rows.add(out.data(), x.data(), n); }));
  print("rope, 32 heads of 128",
        best([&] { rows.rope(out.data(), 32, 128, 128, w.data(), x.data()); }));
  std::vector<float> inv_freq(64, 0.01f), cos(64), sin(64);
  print("rope_table of 64",
        best([&] { rope_table(inv_freq.data(), 64, 12345, 1.0f, cos.data(), sin.data()); }));
  print("softcap of 128256", best([&] { rows.softcap(logits.data(), logits.size(), 30); }));
  print("top_k 1 of 128256",
        best([&] { rows.top_k(logits.data(), logits.size(), 1, values.data(), ids.data()); }));
  print("top_k 40 of 128256",
        best([&] { rows.top_k(logits.data(), logits.size(), 40, values.data(), ids.data()); }));
  for (const auto& [name, kind] :
       std::vector<std::pair<const char*, WireType>>{{"f32", WireType::f32},
                                                     {"bf16", WireType::bf16},
                                                     {"f16", WireType::f16},
                                                     {"q8", WireType::q8},
                                                     {"q4", WireType::q4}}) {
    const WireType type = kind;
    print((std::string("wire_encode ") + name).c_str(),
          best([&] { rows.wire_encode(type, x.data(), n, 1, n, wire.data(), &exponent); }));
    print((std::string("wire_decode ") + name).c_str(),
          best([&] { rows.wire_decode(type, wire.data(), &exponent, 1, n, out.data(), n); }));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto table = select_table(argc > 1 ? argv[1] : "");
  if (!table.ok()) {
    std::fprintf(stderr, "%s\n", table.error().message.c_str());
    return 2;
  }
  std::printf("kernels %s, one thread\n", (*table)->name);
  const std::string section = argc > 2 ? argv[2] : "", shape = argc > 3 ? argv[3] : "";
  if (section.empty() || section == "rows") bench_rows(**table);
  if (section.empty() || section == "many") bench_prefill(**table, shape);
  if (section.empty() || section == "one") bench_decode(**table, shape);
  return 0;
}

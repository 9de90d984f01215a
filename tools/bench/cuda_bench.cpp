// The CUDA backend on models of known shapes with random weights: what a step of 1, 4, 16 and 64
// rows takes, which share of the memory's peak that is, what of it the device does nothing, and
// what graphs save; prompts of 2,048 tokens. Prints tables for kernels/cuda/README.md. Without a
// device: "skipped: no device".
//
//     cuda_bench [1B|8B|70B|tiny ...] [bf16|q8|q4 ...]       all shapes but tiny, all types
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/select.h"
#include "runtime/engine/cuda/cuda_backend.h"
#include "tools/bench/synthetic_model.h"

namespace splitd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMostWeightBytes = uint64_t{24} << 30;  // what takes longer to make than to run
constexpr uint32_t kContext = 512;                         // before the rows of a step
constexpr uint32_t kPrompt = 2048;
constexpr uint32_t kBatch = 256;
// Small enough to be emulated, with no more rounds than show that all of it runs.
constexpr SyntheticShape kTiny{"tiny", 32, 2, 1, 16, 64, 1};
constexpr uint32_t kBodyLayers = 28;

struct Type {
  const char* name;
  DType dtype;
};
constexpr Type kTypes[] = {{"bf16", DType::bf16}, {"q8", DType::q8_0}, {"q4", DType::q4_0}};

struct Card {
  std::string name;
  double bytes_per_s = 0;  // of its memory, at the clock it states
  double flop_per_s = 0;   // bf16 on tensor cores, dense; 0: unknown
  uint64_t free_bytes = 0;
};

template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "cuda_bench: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

int attribute(cudaDeviceAttr which) {
  int out = 0;
  return cudaDeviceGetAttribute(&out, which, 0) == cudaSuccess ? out : 0;
}

// bf16 products with f32 sums, per multiprocessor and clock, from NVIDIA's tables; 0: not known.
double flop_per_clock(int major, int minor) {
  switch (major * 10 + minor) {
    case 80:
      return 2048;
    case 86:
    case 87:
    case 89:
    case 120:
      return 1024;
    case 90:
      return 4096;
    case 100:
      return 8192;
    default:
      return 0;
  }
}

Card read_card() {
  Card card;
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) == cudaSuccess) card.name = properties.name;
  const double memory_khz = attribute(cudaDevAttrMemoryClockRate);
  const double clock_khz = attribute(cudaDevAttrClockRate);
  const int bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth);
  const int n_sm = attribute(cudaDevAttrMultiProcessorCount);
  card.bytes_per_s = 2 * memory_khz * 1e3 * bus_bits / 8;
  card.flop_per_s = flop_per_clock(attribute(cudaDevAttrComputeCapabilityMajor),
                                   attribute(cudaDevAttrComputeCapabilityMinor)) *
                    n_sm * clock_khz * 1e3;
  size_t free_bytes = 0, total = 0;
  if (cudaMemGetInfo(&free_bytes, &total) == cudaSuccess) card.free_bytes = free_bytes;
  char date[32] = "";
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  std::printf("%s: %d multiprocessors at up to %.0f MHz, memory %.0f MHz x %d bit = %.0f GB/s, ",
              card.name.c_str(), n_sm, clock_khz / 1e3, memory_khz / 1e3, bus_bits,
              card.bytes_per_s / 1e9);
  std::printf("bf16 %.0f TFLOP/s; %.1f GiB free; %s\n\n", card.flop_per_s / 1e12,
              static_cast<double>(card.free_bytes) / (1u << 30), date);
  return card;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A share in percent; "?" where what it is a share of is not known.
std::string percent(double part, double of) {
  char text[32];
  std::snprintf(text, sizeof(text), of > 0 ? "%.1f %%" : "?", 100 * part / of);
  return text;
}

struct Times {
  double wall_ms = 0;
  double device_ms = 0;
};

class Bench {
 public:
  Bench(const SyntheticModel& model, bool graphs, bool once)
      : model_(model),
        once_(once),
        backend_(must(make_cuda_backend(
            model.config(), model.weights(),
            {.table = kernels::runnable_tables()[0], .graphs = graphs, .device_ms = &device_ms_}))),
        kv_(must(backend_->make_kv({kPrompt + 64, 8, KvType::f16}))) {}

  // n rows from `position` on.
  Times run(uint32_t position, uint32_t n) {
    hidden_.assign(n * size_t{model_.config().d_model}, 0.1f);
    rows_.clear();
    for (uint32_t at = position; at < position + n; ++at) {
      BatchRow& row = rows_.emplace_back();
      row.kv = kv_.get();
      row.position = row.slot = at;
      row.n_committed = at + 1;
      row.bulk = n == kBulkRows && position % kBulkRows == 0;
    }
    const Clock::time_point begin = Clock::now();
    (void)backend_->forward(rows_, hidden_.data(), backend_->layers(), go_on_);
    const std::chrono::duration<double, std::milli> wall = Clock::now() - begin;
    if (const Status fault = backend_->fault(); !fault.ok()) {
      std::fprintf(stderr, "cuda_bench: %s\n", fault.error().message.c_str());
      std::exit(1);
    }
    return {wall.count(), device_ms_};
  }

  // The median of a step; the first ones load kernels and capture.
  Times step(uint32_t n) {
    for (int i = 0; i < 4; ++i) run(kContext, n);
    std::vector<double> wall, device;
    const Clock::time_point end = Clock::now() + std::chrono::seconds(1);
    while (wall.size() < (once_ ? 1 : 5) || (!once_ && wall.size() < 50 && Clock::now() < end)) {
      const Times one = run(kContext, n);
      wall.push_back(one.wall_ms);
      device.push_back(one.device_ms);
    }
    return {median(wall), median(device)};
  }

  double prompt_ms(uint32_t n_token) {
    std::vector<double> all;
    for (int round = 0; round < (once_ ? 1 : 3); ++round) {
      double ms = 0;
      for (uint32_t at = 0; at < n_token; at += kBatch) ms += run(at, kBatch).wall_ms;
      all.push_back(ms);
    }
    return median(all);
  }

 private:
  const SyntheticModel& model_;
  const bool once_;
  double device_ms_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Kv> kv_;
  std::function<bool()> go_on_ = [] { return true; };
  std::vector<BatchRow> rows_;
  std::vector<float> hidden_;
};

void measure(SyntheticShape shape, const Type& type, const Card& card) {
  SyntheticShape one = shape;
  one.n_layer = 1;
  const uint64_t layer_bytes = SyntheticModel(one, type.dtype, false).layer_bytes(0);
  const uint64_t room = std::min(kMostWeightBytes, card.free_bytes / 4 * 3);
  const auto most = static_cast<uint32_t>(std::max<uint64_t>(1, room / layer_bytes));
  shape.n_layer = std::min({shape.n_layer, most, kBodyLayers});
  const SyntheticModel model(shape, type.dtype, false);
  const double bytes = static_cast<double>(layer_bytes) * shape.n_layer;
  const bool once = shape.name == kTiny.name;
  const auto steps = once ? std::vector<uint32_t>{1, 4} : std::vector<uint32_t>{1, 4, 16, 64};
  std::vector<double> plain_ms(steps.size());
  {
    Bench plain(model, false, once);
    for (size_t i = 0; i < steps.size(); ++i) plain_ms[i] = plain.step(steps[i]).wall_ms;
  }
  Bench bench(model, true, once);
  for (size_t i = 0; i < steps.size(); ++i) {
    const Times times = bench.step(steps[i]);
    std::printf("| %s | %s | %u | %u | %.3f | %.0f | %s | %s | %.3f |\n", shape.name, type.name,
                shape.n_layer, steps[i], times.wall_ms, bytes / times.wall_ms / 1e6,
                percent(bytes / times.wall_ms * 1e3, card.bytes_per_s).c_str(),
                percent(times.wall_ms - times.device_ms, times.wall_ms).c_str(), plain_ms[i]);
    std::fflush(stdout);
  }
  // Products alone: two operations a weight and row.
  const double block =
      static_cast<double>(dtype_info(type.dtype).block_bytes) / dtype_info(type.dtype).block_values;
  const uint32_t n_token = once ? kBatch : kPrompt;
  const double flop = 2 * bytes / block * n_token;
  const double prompt_ms = bench.prompt_ms(n_token);
  std::printf("| %s | %s | %u | prompt of %u | %.1f | %.1f TFLOP/s | %s of bf16 | | |\n",
              shape.name, type.name, shape.n_layer, n_token, prompt_ms, flop / prompt_ms / 1e9,
              percent(flop / prompt_ms * 1e3, card.flop_per_s).c_str());
  std::fflush(stdout);
}

int run(std::span<char*> arguments) {
  int n_device = 0;
  if (cudaGetDeviceCount(&n_device) != cudaSuccess || n_device == 0) {
    std::puts("skipped: no device");
    return 0;
  }
  const auto asked = [&](std::string_view name) {
    return std::find(arguments.begin(), arguments.end(), name) != arguments.end();
  };
  const SyntheticShape shapes[] = {kShape1B, kShape8B, kShape70B, kTiny};
  const bool any_shape = std::any_of(std::begin(shapes), std::end(shapes),
                                     [&](const SyntheticShape& s) { return asked(s.name); });
  const bool any_type = std::any_of(std::begin(kTypes), std::end(kTypes),
                                    [&](const Type& type) { return asked(type.name); });
  const Card card = read_card();
  std::puts(
      "| shape | weights | layers | rows | ms | GB/s | of peak | device idle | ms, no graphs |");
  std::puts("|---|---|---|---|---|---|---|---|---|");
  for (const SyntheticShape& shape : shapes) {
    if (any_shape ? !asked(shape.name) : shape.name == kTiny.name) continue;
    for (const Type& type : kTypes) {
      if (!any_type || asked(type.name)) measure(shape, type, card);
    }
  }
  return 0;
}

}  // namespace
}  // namespace splitd

int main(int argc, char** argv) {
  return splitd::run({argv + 1, argv + argc});
}

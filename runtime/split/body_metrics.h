// Owns: what a body counts, and its /metrics page. Counting is for any thread and takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "runtime/split/budget.h"
#include "runtime/split/metrics.h"
#include "runtime/split/protocol.h"

namespace splitd {

inline constexpr size_t kRefusalKinds = static_cast<size_t>(Refusal::internal) + 1;

// As of now.
struct BodyGauges {
  uint64_t attached = 0;
  uint64_t detached = 0;
  uint64_t in_flight = 0;  // steps that are not answered
  uint64_t engines = 0;    // layer ranges in use
  Usage used;
};

// What the network says.
struct TrafficCounters {
  uint64_t connections = 0;
  uint64_t accepted = 0;
  uint64_t refused = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

struct BodyMetrics {
  std::atomic<uint64_t> opened{0}, resumed{0}, expired{0}, replaced{0};
  std::atomic<uint64_t> steps{0}, rows{0};
  std::array<std::atomic<uint64_t>, kRefusalKinds> refusals{};
  // From a step's last byte in to its reply's first byte out.
  Histogram step_seconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                         0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  Histogram batch_seconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                          0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5};
  Histogram batch_sessions{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128};
  Histogram batch_rows{1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

  std::string page(const BodyGauges& gauges, const TrafficCounters& traffic) const;
};

}  // namespace splitd

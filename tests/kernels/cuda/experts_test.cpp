// Routing on the GPU: who goes where, lists by expert, and rows that are dead, which go nowhere.
#include "kernels/cuda/experts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/kernels/cuda/device_array.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kRows = 9, kExperts = 37, kUsed = 3, kWidth = 5;

struct Routed {
  std::vector<uint32_t> ids, lists, counts;
  std::vector<float> weights;
};

Routed route_rows(const std::vector<float>& scores, const std::vector<BatchRow>& rows) {
  const DeviceArray<float> device_scores(scores), weights(kRows * kUsed);
  const DeviceArray<BatchRow> places(rows);
  const DeviceArray<uint32_t> ids(kRows * kUsed), lists(kRows * kExperts), counts(kExperts);
  RouteJob job;
  job.scores = device_scores.get();
  job.m = kRows;
  job.n_expert = kExperts;
  job.n_used = kUsed;
  job.normalise = true;
  job.rows = rows.empty() ? nullptr : places.get();
  job.ids = ids.get();
  job.weights = weights.get();
  job.lists = lists.get();
  job.counts = counts.get();
  EXPECT_EQ(route(job, nullptr), cudaSuccess);
  return {ids.read(), lists.read(), counts.read(), weights.read()};
}

TEST(CudaExperts, RowsGoToTheirBestAndDeadOnesNowhere) {
  SPLITD_NEEDS_DEVICE();
  std::mt19937 random(3);
  const std::vector<float> scores = normal_values(kRows * kExperts, random);
  const KvView view;
  std::vector<BatchRow> rows(kRows);
  for (uint32_t i = 0; i < kRows; ++i) rows[i].layers = i % 3 == 1 ? nullptr : &view;
  const Routed all = route_rows(scores, {});
  const Routed some = route_rows(scores, rows);
  for (uint32_t row = 0; row < kRows; ++row) {
    std::vector<uint32_t> order(kExperts);
    std::iota(order.begin(), order.end(), 0u);
    const float* of_row = scores.data() + row * kExperts;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return of_row[a] != of_row[b] ? of_row[a] > of_row[b] : a < b;
    });
    std::sort(order.begin(), order.begin() + kUsed);
    double sum = 0;
    for (uint32_t i = 0; i < kUsed; ++i) sum += std::exp(double{of_row[order[i]]});
    for (uint32_t i = 0; i < kUsed; ++i) {
      const uint32_t at = row * kUsed + i;
      ASSERT_EQ(all.ids[at], order[i]);
      ASSERT_NEAR(all.weights[at], std::exp(double{of_row[order[i]]}) / sum, 1e-6);
      const bool is_dead = row % 3 == 1;
      ASSERT_EQ(some.ids[at], is_dead ? kExperts : all.ids[at]);
      if (!is_dead) {
        ASSERT_EQ(some.weights[at], all.weights[at]);
      }
    }
  }
  for (const Routed* routed : {&all, &some}) {
    for (uint32_t expert = 0; expert < kExperts; ++expert) {
      std::vector<uint32_t> want;
      for (uint32_t at = 0; at < kRows * kUsed; ++at) {
        if (routed->ids[at] == expert) want.push_back(at);
      }
      ASSERT_EQ(routed->counts[expert], want.size());
      ASSERT_TRUE(std::equal(want.begin(), want.end(), routed->lists.begin() + expert * kRows));
    }
  }
}

TEST(CudaExperts, PartsAreAddedAndDeadRowsAreNothing) {
  SPLITD_NEEDS_DEVICE();
  std::mt19937 random(4);
  std::vector<float> parts = normal_values(kRows * kUsed * kWidth, random);
  const std::vector<float> weights = normal_values(kRows * kUsed, random);
  const KvView view;
  std::vector<BatchRow> rows(kRows);
  for (uint32_t i = 0; i < kRows; ++i) rows[i].layers = i == 4 ? nullptr : &view;
  for (uint32_t i = 0; i < kUsed * kWidth; ++i) parts[4 * kUsed * kWidth + i] = NAN;
  const DeviceArray<float> device_parts(parts), device_weights(weights), out(kRows * kWidth);
  const DeviceArray<BatchRow> places(rows);
  CombineJob job;
  job.parts = device_parts.get();
  job.weights = device_weights.get();
  job.out = out.get();
  job.rows = places.get();
  job.m = kRows;
  job.n_used = kUsed;
  job.d = kWidth;
  ASSERT_EQ(combine(job, nullptr), cudaSuccess);
  const std::vector<float> got = out.read();
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t e = 0; e < kWidth; ++e) {
      double want = 0;
      for (uint32_t j = 0; j < kUsed && row != 4; ++j) {
        want += double{weights[row * kUsed + j]} * parts[(row * kUsed + j) * kWidth + e];
      }
      ASSERT_NEAR(got[row * kWidth + e], want, 1e-5) << "row " << row;
    }
  }
}

}  // namespace
}  // namespace splitd::kernels::cuda

// The search for a group's scale. A candidate puts the extreme value on some level; its quants then
// have one best scale (weighted least squares), which is tried in turn, rounded to f16: what is
// compared are always errors against scales as they are stored.
#include "runtime/model/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/model/quantise_lanes.h"

namespace splitd {
namespace {

using quantise_lanes::kLanes;
using quantise_lanes::kRound;
using quantise_lanes::Lanes;
using quantise_lanes::sum_of;

constexpr size_t kVectors = kQuantGroup / kLanes;

// Of the levels that the extreme value may take, those worth a try. q4's are tried with both signs:
// only the negative side has an eighth level.
constexpr float kExtremeQ4[] = {8.0f, 7.0f, 7.4f, 7.8f, 8.3f, 8.7f, 6.6f, 6.2f, 9.2f};
constexpr float kExtremeQ8[] = {127.0f};

struct Group {
  Lanes x[kVectors];
  Lanes w[kVectors];
};

Lanes round_levels(const Lanes& x, float inverse, const Levels& levels) {
  Lanes v = x * inverse;
  v = v < levels.least ? Lanes{} + levels.least : v;
  v = v > levels.most ? Lanes{} + levels.most : v;
  return (v + kRound) - kRound;
}

struct Fit {
  float error;
  float best_scale;  // of the same quants
};

Fit fit(const Group& group, float scale, const Levels& levels) {
  const float inverse = 1.0f / scale;
  Lanes error{}, products{}, squares{};
  for (size_t i = 0; i < kVectors; ++i) {
    const Lanes q = round_levels(group.x[i], inverse, levels);
    const Lanes rest = group.x[i] - q * scale;
    const Lanes weighed = group.w[i] * q;
    error += group.w[i] * rest * rest;
    products += weighed * group.x[i];
    squares += weighed * q;
  }
  const float square = sum_of(squares);
  return {sum_of(error), square > 0.0f ? sum_of(products) / square : 0.0f};
}

float as_stored(float scale) {
  return to_f32(to_f16(scale));
}

class Search {
 public:
  Search(DType to, const float* values, const float* importance) : levels_(levels_of(to)) {
    std::memcpy(group_.x, values, sizeof group_.x);
    std::memcpy(group_.w, importance, sizeof group_.w);
    Lanes nothing{};
    for (size_t i = 0; i < kVectors; ++i) nothing += group_.w[i] * group_.x[i] * group_.x[i];
    error_ = sum_of(nothing);  // of scale 0
  }

  // A scale, and then the best ones of the quants that each gives, while that helps.
  void attempt(float scale) {
    constexpr int kSteps = 4;
    scale = as_stored(scale);
    for (int step = 0; step < kSteps; ++step) {
      if (scale == 0.0f || !std::isfinite(scale)) return;
      const Fit found = fit(group_, scale, levels_);
      if (found.error < error_) {
        error_ = found.error;
        scale_ = scale;
      } else if (step > 0) {
        return;
      }
      const float next = as_stored(found.best_scale);
      if (next == scale) return;
      scale = next;
    }
  }

  bool is_exact() const { return error_ == 0.0f; }
  float scale() const { return scale_; }

 private:
  Group group_;
  Levels levels_;
  float error_ = 0.0f;
  float scale_ = 0.0f;
};

}  // namespace

double QuantisationLoss::relative_rms() const {
  return total > 0.0 ? std::sqrt(lost / total) : 0.0;
}

std::optional<float> group_scale(DType to, const float* values, const float* importance) {
  float extreme = 0.0f;
  for (size_t i = 0; i < kQuantGroup; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  const Levels levels = levels_of(to);
  if (!std::isfinite(as_stored(extreme / levels.least))) return std::nullopt;
  Search search(to, values, importance);
  if (to == DType::q8) {
    for (const float level : kExtremeQ8) search.attempt(extreme / level);
    return search.scale();
  }
  // Numbers that lie on a grid already, as most that were quantised before do, are kept exactly.
  for (float level = 1.0f; level <= 8.0f && !search.is_exact(); level += 1.0f) {
    if (as_stored(extreme / level) * level != extreme) continue;
    search.attempt(extreme / -level);
    if (level < 8.0f) search.attempt(extreme / level);
  }
  for (const float level : kExtremeQ4) {
    if (search.is_exact()) break;
    search.attempt(extreme / -level);
    search.attempt(extreme / level);
  }
  return search.scale();
}

float nearest_level(DType to, float value, float scale) {
  if (scale == 0.0f) return 0.0f;
  const Levels levels = levels_of(to);
  const float level = std::clamp(value * (1.0f / scale), levels.least, levels.most);
  return (level + kRound) - kRound;
}

std::optional<size_t> quantise_row(DType to, std::span<const float> values,
                                   std::span<const float> importance, std::byte* matrix,
                                   uint64_t row, QuantisationLoss& loss) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
  }
  float ones[kQuantGroup];
  std::fill(std::begin(ones), std::end(ones), 1.0f);
  int8_t levels[kQuantGroup];
  for (size_t begin = 0; begin < values.size(); begin += kQuantGroup) {
    const float* group = values.data() + begin;
    const float* weights = importance.empty() ? ones : importance.data() + begin;
    const std::optional<float> scale = group_scale(to, group, weights);
    if (!scale) {
      const auto larger = [](float a, float b) { return std::fabs(a) < std::fabs(b); };
      return static_cast<size_t>(std::max_element(group, group + kQuantGroup, larger) -
                                 values.data());
    }
    double lost = 0.0;
    double total = 0.0;
    for (size_t i = 0; i < kQuantGroup; ++i) {
      const float level = nearest_level(to, group[i], *scale);
      levels[i] = static_cast<int8_t>(level);
      const double rest = double{group[i]} - double{level} * double{*scale};
      lost += rest * rest;
      total += double{group[i]} * double{group[i]};
    }
    loss.add({lost, total});
    put_group(to, matrix, values.size(), row, begin / kQuantGroup, to_f16(*scale).bits, levels);
  }
  return std::nullopt;
}

}  // namespace splitd

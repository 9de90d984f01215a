#include "runtime/decode/drafters/kin_model.h"

#include <algorithm>
#include <cmath>

namespace splitd {
namespace {

constexpr float kNoise = 0.3f;    // the ridge: kernel values are 0 to 4
constexpr size_t kHeard = 48;     // rows whose followers are heard, those of the most weight
constexpr size_t kMerged = 2048;  // slots for tokens: more than twice kHeard × kTop
constexpr float kElsewhere = 10;  // what all tokens that nobody named count as, together
constexpr float kLeastShare = 1e-6f;

float dot(const float* a, const float* b, size_t n) {
  constexpr size_t kLanes = 16;
  float sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (; i < n; ++i) sum += a[i] * b[i];
  for (const float lane : sums) sum += lane;
  return sum;
}

void add_scaled(float* to, const float* from, float scale, size_t n) {
  for (size_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

}  // namespace

void KinModel::use(TokenSketches& tokens) {
  tokens_ = &tokens;
  root_ = -1;
  if (!before_.empty()) return;
  before_.resize(kRows * kSketch);
  token_.resize(kRows * kSketch);
  own_.resize(kRows * kSketch);
  inverse_.resize(kRows * kRows);
  top_.resize(kRows * kTop);
  score_.resize(kRows * kTop);
  ids_.resize(kRows);
  queue_.resize(kQueue);
  nodes_.reserve(1024);
  slots_.resize(kSlots);
  kernel_.resize(kRows);
  weight_.resize(kRows);
  order_.reserve(kRows);
  merged_.assign(kMerged, {0, 0, -1});
  used_.reserve(kHeard * kTop);
}

// ---- Rows

void KinModel::put(uint32_t token, std::span<const float> before, std::span<const float> own,
                   std::span<const uint32_t> top, std::span<const float> probability) {
  if (tokens_ == nullptr || before.size() != kSketch || own.size() != kSketch) return;
  if (top.size() < kTop || probability.size() < kTop) return;
  if (n_waiting_ == kQueue) {
    oldest_ = (oldest_ + 1) % kQueue;
    --n_waiting_;
  }
  Waiting& row = queue_[(oldest_ + n_waiting_++) % kQueue];
  row.token = token;
  std::copy_n(before.begin(), kSketch, row.before.begin());
  std::copy_n(own.begin(), kSketch, row.own.begin());
  std::copy_n(top.begin(), kTop, row.top.begin());
  const float least = std::log(std::max(probability[kTop - 1], kLeastShare));
  for (size_t i = 0; i < kTop; ++i) {
    row.score[i] = std::log(std::max(probability[i], kLeastShare)) - least;
  }
}

bool KinModel::digest() {
  if (n_waiting_ == 0) return false;
  const Waiting& row = queue_[oldest_];
  oldest_ = (oldest_ + 1) % kQueue;
  --n_waiting_;
  if (n_ == kRows) forget_half();
  take_in(row);
  return true;
}

// The inverse of a matrix that has grown by a row (the block inverse): O(n²).
void KinModel::take_in(const Waiting& row) {
  const std::span<const float> token = tokens_->of(row.token);
  std::copy_n(row.before.begin(), kSketch,
              before_.begin() + static_cast<std::ptrdiff_t>(n_ * kSketch));
  std::copy_n(row.own.begin(), kSketch, own_.begin() + static_cast<std::ptrdiff_t>(n_ * kSketch));
  std::copy_n(token.begin(), kSketch, token_.begin() + static_cast<std::ptrdiff_t>(n_ * kSketch));
  std::copy_n(row.top.begin(), kTop, top_.begin() + static_cast<std::ptrdiff_t>(n_ * kTop));
  std::copy_n(row.score.begin(), kTop, score_.begin() + static_cast<std::ptrdiff_t>(n_ * kTop));
  ids_[n_] = row.token;
  // Slots know resemblances of the rows that were there.
  for (Slot& slot : slots_) slot.has_these = false;
  compare(row.before, before_, kernel_.data());
  compare(token, token_, weight_.data());
  for (size_t j = 0; j < n_; ++j) kernel_[j] *= weight_[j];
  const float own = (1 + dot(row.before.data(), row.before.data(), kSketch)) *
                        (1 + dot(token.data(), token.data(), kSketch)) +
                    kNoise;
  const float explained = solve(kernel_.data(), weight_.data());
  if (!std::isfinite(explained)) {
    n_ = 0;  // what is not a number spreads: begin anew
    return;
  }
  const float rest = std::max(own - explained, kNoise * 0.5f);
  for (size_t i = 0; i < n_; ++i) {
    float* const line = inverse_.data() + i * kRows;
    add_scaled(line, weight_.data(), weight_[i] / rest, n_);
    line[n_] = inverse_[n_ * kRows + i] = -weight_[i] / rest;
  }
  inverse_[n_ * kRows + n_] = 1 / rest;
  ++n_;
}

// The newest half stays, and its inverse is made anew: rounding does not add up.
void KinModel::forget_half() {
  const size_t n_kept = kRows / 2, from = kRows - n_kept;
  n_ = 0;
  static_assert(kRows / 2 <= kQueue);
  Waiting row;
  for (size_t i = from; i < kRows; ++i) {
    row.token = ids_[i];
    std::copy_n(before_.begin() + static_cast<std::ptrdiff_t>(i * kSketch), kSketch,
                row.before.begin());
    std::copy_n(own_.begin() + static_cast<std::ptrdiff_t>(i * kSketch), kSketch, row.own.begin());
    std::copy_n(top_.begin() + static_cast<std::ptrdiff_t>(i * kTop), kTop, row.top.begin());
    std::copy_n(score_.begin() + static_cast<std::ptrdiff_t>(i * kTop), kTop, row.score.begin());
    take_in(row);
  }
}

// 1 + the dot product with every row of `with`.
void KinModel::compare(std::span<const float> sketch, const std::vector<float>& with,
                       float* out) const {
  for (size_t j = 0; j < n_; ++j) {
    out[j] = 1 + dot(sketch.data(), with.data() + j * kSketch, kSketch);
  }
}

// weight = inverse · kernel; returns kernel · weight.
float KinModel::solve(const float* kernel, float* weight) const {
  for (size_t i = 0; i < n_; ++i) weight[i] = dot(inverse_.data() + i * kRows, kernel, n_);
  return dot(kernel, weight, n_);
}

// ---- Guesses

void KinModel::begin_draft(std::span<const float> before, uint32_t token,
                           std::chrono::steady_clock::time_point deadline) {
  nodes_.clear();
  n_slot_ = 0;
  root_ = -1;
  if (tokens_ == nullptr || n_ == 0 || before.size() != kSketch) return;
  deadline_ = deadline;
  Slot& slot = slots_[n_slot_++];
  std::copy_n(before.begin(), kSketch, slot.sketch.begin());
  slot.has_these = false;
  nodes_.push_back({token, -1, 0, -1});
  root_ = 0;
}

KinModel::Place KinModel::enter(Place place, uint32_t token) {
  if (place < 0 || nodes_.size() == nodes_.capacity() || !ask(place)) return -1;
  nodes_.push_back({token, place, nodes_[static_cast<size_t>(place)].own, -1});
  return static_cast<Place>(nodes_.size() - 1);
}

bool KinModel::ask(Place place) {
  Node& node = nodes_[static_cast<size_t>(place)];
  if (node.own >= 0) return true;
  if (node.before < 0 || n_slot_ == kSlots) return false;
  if (std::chrono::steady_clock::now() >= deadline_) return false;
  Slot& before = slots_[static_cast<size_t>(node.before)];
  if (!before.has_these) {
    compare(before.sketch, before_, before.resemblance.data());
    before.has_these = true;
  }
  compare(tokens_->of(node.token), token_, kernel_.data());
  for (size_t j = 0; j < n_; ++j) kernel_[j] *= before.resemblance[j];
  solve(kernel_.data(), weight_.data());
  node.own = static_cast<int32_t>(n_slot_);
  Slot& slot = slots_[n_slot_++];
  slot.has_these = false;
  slot.sketch.fill(0);
  for (size_t j = 0; j < n_; ++j) {
    add_scaled(slot.sketch.data(), own_.data() + j * kSketch, weight_[j], kSketch);
  }
  const float length = std::sqrt(dot(slot.sketch.data(), slot.sketch.data(), kSketch));
  if (length > 0) {
    for (float& x : slot.sketch) x /= length;
  }
  collect(slot);
  return true;
}

// What the rows of the most weight say, added up by token, to slot.found.
void KinModel::collect(Slot& slot) {
  order_.resize(n_);
  for (uint32_t j = 0; j < n_; ++j) order_[j] = j;
  const size_t n_heard = std::min(n_, kHeard);
  std::nth_element(
      order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(n_heard - 1), order_.end(),
      [&](uint32_t a, uint32_t b) { return std::fabs(weight_[a]) > std::fabs(weight_[b]); });
  used_.clear();
  for (size_t i = 0; i < n_heard; ++i) {
    const size_t row = order_[i];
    for (size_t rank = 0; rank < kTop; ++rank) {
      const uint32_t token = top_[row * kTop + rank];
      size_t at = (token * 0x9E3779B1u) >> 21;
      while (merged_[at].probability >= 0 && merged_[at].token != token) at = (at + 1) % kMerged;
      if (merged_[at].probability < 0) {
        merged_[at] = {token, 0, 0};
        used_.push_back(static_cast<uint32_t>(at));
      }
      merged_[at].score += weight_[row] * score_[row * kTop + rank];
    }
  }
  float sum = kElsewhere;
  for (const uint32_t at : used_) {
    const float score = std::clamp(sharpness_ * merged_[at].score, 0.0f, 40.0f);
    merged_[at].probability = std::expm1(score);
    sum += merged_[at].probability;
  }
  slot.n_found = std::min(used_.size(), kGuesses);
  const auto likelier = [&](uint32_t a, uint32_t b) {
    return merged_[a].score != merged_[b].score ? merged_[a].score > merged_[b].score : a < b;
  };
  std::partial_sort(used_.begin(), used_.begin() + static_cast<std::ptrdiff_t>(slot.n_found),
                    used_.end(), likelier);
  for (size_t i = 0; i < slot.n_found; ++i) {
    slot.found[i] = merged_[used_[i]];
    slot.found[i].probability /= sum;
  }
  while (slot.n_found > 0 && slot.found[slot.n_found - 1].score <= 0) --slot.n_found;
  for (const uint32_t at : used_) merged_[at].probability = -1;
}

bool KinModel::guesses(Place place, std::vector<Guess>& out) {
  if (place < 0 || !ask(place)) return false;
  const Slot& slot = slots_[static_cast<size_t>(nodes_[static_cast<size_t>(place)].own)];
  for (size_t i = 0; i < slot.n_found; ++i) {
    out.push_back({slot.found[i].token, calibration_.apply(slot.found[i].probability)});
  }
  return true;
}

void KinModel::append(uint32_t token) {
  if (root_ < 0) return;
  const int32_t own = nodes_[static_cast<size_t>(root_)].own;
  Place next = -1;
  if (own >= 0) {
    // One step up the log probability of what came, by sharpness.
    constexpr float kStep = 0.01f;
    const Slot& slot = slots_[static_cast<size_t>(own)];
    float mean = 0, score = 0;
    for (size_t i = 0; i < slot.n_found; ++i) {
      const Scored& found = slot.found[i];
      mean += found.probability * found.score;
      if (found.token == token) score = found.score;
      calibration_.learn(found.probability, found.token == token);
    }
    sharpness_ = std::clamp(sharpness_ + kStep * (score - mean), 0.5f, 5.0f);
    for (size_t i = static_cast<size_t>(root_) + 1; i < nodes_.size(); ++i) {
      if (nodes_[i].parent == root_ && nodes_[i].token == token) next = static_cast<Place>(i);
    }
  }
  root_ = next;
}

}  // namespace splitd

// Owns: counters and histograms that any thread may add to without a lock, and the text that
// Prometheus reads them as (exposition format 0.0.4).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace splitd {

// Upper bounds ascend; one more bucket holds what is above all of them.
class Histogram {
 public:
  static constexpr size_t kMaxBounds = 20;

  explicit Histogram(std::initializer_list<double> bounds);

  void add(double value);

  std::span<const double> bounds() const { return std::span(bounds_).first(n_bound_); }
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::array<double, kMaxBounds> bounds_{};
  size_t n_bound_ = 0;
  std::array<std::atomic<uint64_t>, kMaxBounds + 1> counts_{};  // of each bucket alone
  std::atomic<double> sum_{0};
};

class MetricsText {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Begins a family; its samples follow.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(uint64_t value, Labels labels = {});
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram);
  // A family of one sample.
  void counter(std::string_view name, std::string_view help, uint64_t value);
  void gauge(std::string_view name, std::string_view help, uint64_t value);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, Labels labels, std::string_view value);

  std::string text_;
  std::string name_;
};

}  // namespace splitd

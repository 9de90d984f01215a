#include "runtime/split/metrics.h"

#include <algorithm>
#include <charconv>

namespace splitd {

Histogram::Histogram(std::initializer_list<double> bounds)
    : n_bound_(std::min(bounds.size(), kMaxBounds)) {
  std::copy_n(bounds.begin(), n_bound_, bounds_.begin());
}

void Histogram::add(double value) {
  const auto bounds = this->bounds();
  // A bucket holds what is ≤ its bound.
  const auto at = std::lower_bound(bounds.begin(), bounds.end(), value);
  counts_[static_cast<size_t>(at - bounds.begin())].fetch_add(1, std::memory_order_relaxed);
  double sum = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
  }
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (size_t i = 0; i <= n_bound_; ++i) total += count(i);
  return total;
}

static std::string number(double value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += "# HELP " + name_ + " ";
  text_ += help;
  text_ += "\n# TYPE " + name_ + " ";
  text_ += type;
  text_ += '\n';
}

void MetricsText::line(std::string_view suffix, Labels labels, std::string_view value) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  for (const auto& [name, label] : labels) {
    text_ += before;
    text_ += name;
    text_ += "=\"";
    for (const char c : label) {
      if (c == '\\' || c == '"' || c == '\n') text_ += '\\';
      text_ += c == '\n' ? 'n' : c;
    }
    text_ += '"';
    before = ',';
  }
  if (before == ',') text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

void MetricsText::sample(uint64_t value, Labels labels) {
  line("", labels, std::to_string(value));
}

// Buckets are cumulative, and _count equals the last of them whatever is added meanwhile.
void MetricsText::histogram(std::string_view name, std::string_view help,
                            const Histogram& histogram) {
  family(name, "histogram", help);
  uint64_t total = 0;
  for (size_t i = 0; i < histogram.bounds().size(); ++i) {
    total += histogram.count(i);
    line("_bucket", {{"le", number(histogram.bounds()[i])}}, std::to_string(total));
  }
  total += histogram.count(histogram.bounds().size());
  line("_bucket", {{"le", "+Inf"}}, std::to_string(total));
  line("_sum", {}, number(histogram.sum()));
  line("_count", {}, std::to_string(total));
}

void MetricsText::counter(std::string_view name, std::string_view help, uint64_t value) {
  family(name, "counter", help);
  sample(value);
}

void MetricsText::gauge(std::string_view name, std::string_view help, uint64_t value) {
  family(name, "gauge", help);
  sample(value);
}

}  // namespace splitd

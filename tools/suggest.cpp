#include "tools/suggest.h"

#include <algorithm>
#include <vector>

namespace splitd::cli {
namespace {

// A longer word is no misspelt name, and the distance is quadratic.
constexpr size_t kLongestName = 64;

char folded(char c) {
  if (c == '_') return '-';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);  // the row above the row above
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const char x = folded(a[i - 1]);
      const char y = folded(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (x == y ? 0u : 1u)});
      if (i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> names) {
  if (name.empty() || name.size() > kLongestName) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;  // the first that is too far
  for (const std::string_view candidate : names) {
    size_t distance = edit_distance(name, candidate);
    // "max" for "max-tokens": a beginning is a good guess, though never better than a misspelling.
    const bool begins = name.size() >= 3 && candidate.starts_with(name);
    if (begins) distance = std::min(distance, std::max<size_t>(1, name.size() / 3));
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string_view> names,
                         std::string_view before) {
  const std::string_view nearest = nearest_name(name, names);
  if (nearest.empty()) return {};
  return " (did you mean '" + std::string(before) + std::string(nearest) + "'?)";
}

}  // namespace splitd::cli

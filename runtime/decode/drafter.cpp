#include "runtime/decode/drafter.h"

namespace splitd {

void Draft::clear() {
  cut(0);
}

void Draft::reserve(size_t n) {
  tokens.reserve(n);
  parents.reserve(n);
  probabilities.reserve(n);
  wanted.reserve(n);
}

int32_t Draft::add(uint32_t token, int32_t parent, float probability, bool is_wanted) {
  tokens.push_back(token);
  parents.push_back(parent);
  probabilities.push_back(probability);
  wanted.push_back(is_wanted ? 1 : 0);
  return static_cast<int32_t>(tokens.size()) - 1;
}

void Draft::cut(size_t n) {
  if (n >= tokens.size()) return;
  tokens.resize(n);
  parents.resize(n);
  probabilities.resize(n);
  wanted.resize(n);
}

}  // namespace splitd

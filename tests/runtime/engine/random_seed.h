// How long the randomised tests run and what they begin with: SPLITD_RANDOM_OPS (20000 requests in
// all; `make check-all` asks for a million) and SPLITD_RANDOM_SEED (1; `make check-all` takes a new
// one each time). Both are printed, so that a failure can be had again.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace splitd {

inline uint64_t number_from_environment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : std::strtoull(text, nullptr, 10);
}

// At least so many that every test meets the cases it asserts.
inline uint64_t random_ops() {
  const uint64_t n = number_from_environment("SPLITD_RANDOM_OPS", 20000);
  return n < 20000 ? 20000 : n;
}

// Each test has a `salt` of its own.
inline uint32_t random_seed(uint32_t salt) {
  const uint64_t seed = number_from_environment("SPLITD_RANDOM_SEED", 1);
  std::printf("SPLITD_RANDOM_SEED=%llu SPLITD_RANDOM_OPS=%llu\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(random_ops()));
  return static_cast<uint32_t>(seed * 1000 + salt);
}

}  // namespace splitd

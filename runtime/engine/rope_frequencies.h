// Owns: how fast each pair of a head turns, as every backend of the host prepares it.
#pragma once

#include <vector>

#include "runtime/model/config.h"

namespace splitd {

struct RopeFrequencies {
  std::vector<float> short_session;
  std::vector<float> long_session;  // longrope has another set for them, the others the same
};

[[nodiscard]] RopeFrequencies rope_frequencies_of(const RopeConfig& rope);

}  // namespace splitd

// RopeConfig → the kernels' shape behind rope_frequencies.h.
#include "runtime/engine/rope_frequencies.h"

#include "kernels/rows.h"

namespace splitd {

RopeFrequencies rope_frequencies_of(const RopeConfig& rope) {
  RopeFrequencies out;
  kernels::RopeShape shape{.scaling = static_cast<kernels::RopeScaling>(rope.kind),
                           .theta = rope.theta,
                           .n_rotary = rope.n_rotary,
                           .factor = rope.factor,
                           .low_freq_factor = rope.low_freq_factor,
                           .high_freq_factor = rope.high_freq_factor,
                           .original_ctx = static_cast<double>(rope.original_ctx),
                           .freq_divisors = rope.short_factors.data()};
  out.short_session.resize(rope.n_rotary / 2);
  kernels::rope_frequencies(shape, out.short_session.data());
  out.long_session = out.short_session;
  if (rope.kind == RopeKind::longrope) {
    shape.freq_divisors = rope.long_factors.data();
    kernels::rope_frequencies(shape, out.long_session.data());
  }
  return out;
}

}  // namespace splitd

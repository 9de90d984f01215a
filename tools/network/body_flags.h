// Owns: how a user says which body computes the layers between, and how it is spoken to.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/base/result.h"
#include "runtime/split/remote_link.h"
#include "tools/command.h"

namespace splitd::cli {

struct BodyChoice {
  RemoteOptions remote;
  std::optional<uint32_t> head;  // layers here before the body's; nothing: as the body offers
  std::optional<uint32_t> tail;  // …and after them
};

// --body, --head, --tail, --wire, --transport, --retry-for, --allow-drift. With tls_flags().
[[nodiscard]] FlagGroup body_flags();

// Requires engine_flags() too: what they say explicitly is asked of the body as well.
[[nodiscard]] Result<BodyChoice> read_body_flags(Context& context);

// The body's layers; refuses ends that leave it none.
[[nodiscard]] Result<LayerRange> layers_between(uint32_t head, uint32_t tail, uint32_t n_layer);

}  // namespace splitd::cli

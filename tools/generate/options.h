// Owns: the flags that every command which computes shares, and what they mean together with a
// model's generation_config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/decode/sampler.h"
#include "runtime/engine/backend.h"
#include "tools/command.h"
#include "tools/generate/device.h"

namespace splitd::cli {

[[nodiscard]] FlagGroup sampling_flags();  // --max-tokens, --temperature, …
[[nodiscard]] FlagGroup engine_flags();    // --threads, --kv, --compute, --ctx

// The token ids of --ids. Refuses none at all, and what is not in the vocabulary.
[[nodiscard]] Result<std::vector<uint32_t>> read_ids(const Context& context, uint32_t n_vocab);

struct EngineOptions {
  DeviceChoice device;
  uint32_t n_thread = 1;
  KvType kv = KvType::f16;
  bool exact = false;        // --compute f32
  uint32_t n_ctx = 0;        // 0: what the text needs
  ProgressFn progress = {};  // of making backends; the command's
};
[[nodiscard]] KvType read_kv_type(const Context& context);  // --kv
[[nodiscard]] Result<EngineOptions> read_engine_options(const Context& context);

// generation_config.json where it samples (do_sample), else greedy; flags win. A seed that nobody
// gave is fresh.
[[nodiscard]] Result<SamplingOptions> read_sampling(const Context& context,
                                                    const std::string& model_path,
                                                    uint32_t n_vocab);

}  // namespace splitd::cli

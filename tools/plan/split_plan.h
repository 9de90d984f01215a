// Owns: what a split would put where: how many first and last layers of a model fit a device of a
// given memory, in which dtype, what a token costs there, and what the body needs. Arithmetic on
// sizes alone; reads no weights. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/rows.h"
#include "runtime/engine/backend.h"
#include "runtime/model/inspect.h"

namespace splitd::cli {

// A set of tensors in bytes.
struct PartBytes {
  uint64_t all = 0;    // kept
  uint64_t token = 0;  // read for one token: of experts, those that it uses

  PartBytes& operator+=(const PartBytes& other);
};

// Of the whole model, as it is stored or as a conversion to `dtype` would store it.
struct ModelBytes {
  std::string dtype;  // "stored", "q8", …
  std::vector<PartBytes> layers;
  uint64_t table = 0;      // the embedding
  uint64_t table_row = 0;  // one token's row of it
  uint64_t head = 0;       // the same bytes as the embedding when tied
  uint64_t norm = 0;
  bool tied = false;

  PartBytes range(LayerRange layers) const;
  uint64_t total() const;
};

// What is stored for every tensor of the schema; what is not here counts as the config's dtype, or
// BF16. `to` is q8 or q4: as `splitd convert` stores it.
[[nodiscard]] ModelBytes model_bytes(const Inspection& inspection, std::optional<DType> to = {});

struct PlanOptions {
  uint64_t memory = 0;  // bytes that the device gives
  uint32_t n_ctx = 0;
  KvType kv = KvType::f16;
  // Asked for; nothing: as many as fit.
  std::optional<uint32_t> head = {};
  std::optional<uint32_t> tail = {};
};

struct DeviceCost {
  uint64_t weights = 0;    // of its layers, the head and the norm
  uint64_t embedding = 0;  // rows of it that a context can touch; 0 when tied: the head has them
  uint64_t kv = 0;
  uint64_t work = 0;  // activations, logits, tokenizer, the program: set aside
  uint64_t total() const { return weights + embedding + kv + work; }

  uint64_t token_weights = 0;  // read for one token
  uint64_t token_kv = 0;       // …at the end of the context
};

// One row between the ends, each way: payload, without the header.
[[nodiscard]] uint64_t wire_row_bytes(kernels::WireType type, uint32_t d_model);

struct BodyCost {
  LayerRange layers;  // empty: all of them are on the device
  uint64_t weights = 0;
  uint64_t kv = 0;  // of one session
  uint64_t token_weights = 0;
};

struct SplitChoice {
  std::string dtype;
  uint32_t head = 0, tail = 0;
  bool fits = false;   // false: not even this, the least that was asked for
  bool whole = false;  // every layer is on the device
  DeviceCost device;
  BodyCost body;  // as stored
};

struct SplitPlan {
  PlanOptions options;
  uint32_t d_model = 0;
  std::vector<SplitChoice> choices;  // as stored, then what is smaller
  // Among choices: the first with a layer at either end that fits, else the first that fits.
  std::optional<size_t> best;
};

[[nodiscard]] DeviceCost device_cost(const ModelConfig& config, const ModelBytes& bytes,
                                     const PlanOptions& options, uint32_t head, uint32_t tail);

// Refuses a --head and --tail that the model does not have, and a context beyond the model's.
[[nodiscard]] Result<SplitPlan> plan_split(const Inspection& inspection,
                                           const PlanOptions& options);

}  // namespace splitd::cli

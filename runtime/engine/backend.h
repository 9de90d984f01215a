// Owns: the seam between what is computed and who computes it. A backend holds a range of layers
// (and, where asked for, the embedding and the head) of one model and turns rows into rows; it
// knows nothing of requests, trees or sessions beyond a row's place in its KV.
// A row's result is bit-identical whatever else is in the batch (DESIGN §5), bulk chunks aside.
// One call at a time; different backends are independent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/result.h"
#include "runtime/engine/timeline.h"
#include "runtime/model/config.h"
#include "runtime/model/weights.h"

namespace splitd {

enum class KvType : uint8_t { f32, f16, bf16, q8 };

struct KvShape {
  uint32_t n_ctx = 0;
  uint32_t max_pending = 0;
  KvType type = KvType::f16;
};

// The keys and values of one session, for the layers of the backend that made it. All of it is
// reserved when it is made.
class Kv {
 public:
  virtual ~Kv() = default;
  virtual uint64_t bytes() const = 0;
};

// One row's place. Slots are the timeline's.
struct BatchRow {
  Kv* kv = nullptr;
  uint32_t position = 0;
  uint32_t slot = 0;
  uint32_t n_committed = 0;        // position + 1 for a row that is committed
  const uint32_t* path = nullptr;  // slots of the positions n_committed … position
  bool bulk = false;               // of a bulk chunk, which then is all of the batch
  bool is_read = true;             // false: the model's last layer may leave it as it was
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual const ModelConfig& config() const = 0;
  virtual LayerRange layers() const = 0;
  virtual std::string arith() const = 0;  // what a resumed session has to find again (DESIGN §5)

  virtual uint64_t kv_bytes(const KvShape& shape) const = 0;
  // Refuses what does not fit in memory, with both numbers.
  virtual Result<std::unique_ptr<Kv>> make_kv(const KvShape& shape) = 0;
  virtual void move_rows(Kv& kv, std::span<const SlotMove> moves) = 0;

  // hidden (n, d_model) row-major, in place, through the layers of `range`, which lies in layers().
  // Before each layer, or each few of them that a device is given together, it asks go_on; answered
  // false, it stops and the rows mean nothing.
  // Returns whether it went through.
  virtual bool forward(std::span<const BatchRow> rows, float* hidden, LayerRange range,
                       const std::function<bool()>& go_on) = 0;

  // Requires the embedding; ids are in the vocabulary.
  virtual void embed(std::span<const uint32_t> ids, float* hidden) = 0;
  // The final norm, to `normed` (n, d_model).
  virtual void norm(std::span<const float> hidden, float* normed) = 0;
  // The head on normed rows, to logits (n, n_vocab). Requires the head.
  virtual void project(std::span<const float> normed, float* logits) = 0;

  // What broke the device that computes, where there is one: from then on every row comes out as
  // NaN, and nothing but another backend helps.
  virtual Status fault() const { return {}; }

  // Whether bulk chunks are computed as such: every row of one the same whatever the chunk's later
  // rows are, but not the same as by itself. Others take `bulk` rows like any.
  virtual bool takes_bulk() const { return false; }

  // The most rows of one session that one forward() may hold; with takes_bulk() a chunk's.
  virtual uint32_t max_rows() const = 0;
};

}  // namespace splitd

// Owns: guesses of a model that is computed here: a small one with the same vocabulary ("draft"),
// or the model's own first and last layers without those between ("early-exit"). It has keys and
// values of its own, which follow the text with rewinds. It guesses a chain, and beside each link
// what else was likely there. The sampler that draws the text draws here too, from the draft
// model's logits with the random number of the same position: where both models think alike they
// draw alike, at any temperature. A text longer than its context gets no guesses. One thread; the
// backends are its alone meanwhile.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/base/result.h"
#include "runtime/decode/drafter.h"
#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/sampler.h"
#include "runtime/engine/layer_run.h"

namespace splitd {

// Whoever makes it keeps the backends alive.
struct DraftModel {
  struct Part {
    Backend* backend = nullptr;
    LayerRange layers;  // may be empty
  };
  Backend* embedding = nullptr;
  std::vector<Part> parts;  // one after the other
  Backend* head = nullptr;  // norm and projection
  uint32_t n_vocab = 0;     // of the large model: ids beyond it are never guessed
  uint32_t n_ctx = 0;       // rows of its own KV
  KvType kv = KvType::f16;
  const kernels::KernelTable* table = nullptr;  // nullptr: the best of this machine
};

class ModelDrafter final : public Drafter {
 public:
  // Refuses what its memory cannot hold.
  static Result<std::unique_ptr<ModelDrafter>> open(std::string name, const DraftModel& model,
                                                    const SamplingOptions& sampling);

  std::string_view name() const override { return name_; }
  void sample_like(const SamplingOptions& sampling) override;
  void begin(std::span<const uint32_t> prompt) override;
  Status propose(const DraftRequest& request, Draft& draft) override;
  void observe(const StepSeen& seen) override;

 private:
  static constexpr uint32_t kRanks = 4;  // the drawn token, and the likeliest others beside it
  static constexpr uint32_t kMostDepth = 32;
  static constexpr size_t kSures = 8;
  static constexpr size_t kMostInFlight = 8;
  // The chain ends where it is less likely than this: each link costs a pass of the small model.
  static constexpr float kLeastChain = 0.1f;

  struct Node {
    uint32_t token;
    int32_t parent;  // index of a node
    float path;
    uint8_t bucket;
  };
  // What a draft's rows rest on, until it is observed.
  struct Sent {
    size_t n_text = 0;
    std::vector<uint8_t> buckets;  // by row
  };

  ModelDrafter(std::string name, const DraftModel& model, const SamplingOptions& sampling);

  uint32_t n_vocab() const;
  Status follow(std::span<const uint32_t> text);
  Status append(std::span<const uint32_t> tokens);
  Status rewind(size_t n);
  Status rewind_runs(size_t n);
  void follow_sampler(std::span<const uint32_t> text);
  Status guess(uint64_t position, int32_t parent, float path, int32_t& drawn);
  void emit(uint32_t budget, size_t n_text, Draft& draft);
  static size_t bucket(uint32_t rank, float share);

  std::string name_;
  DraftModel model_;
  SamplingOptions sampling_;
  Sampler sampler_;
  std::vector<LayerRun> runs_;
  bool has_window_ = false;
  bool is_broken_ = false;                        // a computation was begun and not ended
  const std::atomic<bool>* cancelled_ = nullptr;  // of the request at hand
  size_t high_ = 0;                               // the most rows since the KV was empty
  std::vector<uint32_t> tokens_;                  // whose rows are computed
  std::vector<uint32_t> sampled_;                 // what the sampler has been told
  size_t n_prompt_ = 0;                           // the first so many tokens of the text were given
  size_t n_told_prompt_ = 0;                      // n_prompt_ when the sampler was told
  std::vector<float> hidden_;
  std::vector<float> logits_;  // after the last of tokens_
  std::vector<float> shares_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> order_;
  std::vector<int32_t> row_of_;
  std::array<Sent, kMostInFlight> sent_;
  size_t next_sent_ = 0;
  // That a guess is right where those before it are.
  std::array<Rate, kRanks * kSures> rates_;
};

}  // namespace splitd

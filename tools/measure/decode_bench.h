// Owns: measuring how prompts of several kinds are decoded by several drafters: tokens a step,
// tokens a second, what is sent for them. Every drafter's text is compared with the first one's,
// and repetition loops are cut off before anything is timed (prompt_set.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/decode/drafter.h"
#include "tools/generate/text_model.h"
#include "tools/measure/delayed_stage.h"
#include "tools/measure/prompt_set.h"

namespace splitd::cli {

struct DecodeBenchOptions {
  std::vector<std::string> decoders;  // "auto", "prompt-lookup:3" (its n-gram); the first is what
                                      // the others are compared with
  std::vector<double> temperatures;
  std::vector<Link> links;    // empty: as the model's parts lie
  uint32_t max_tokens = 64;   // of a text
  uint32_t most_prompts = 0;  // of a kind; 0: all
  uint32_t most_frames = 1;   // in flight
  bool warm = false;          // a decoder's drafter keeps what it learnt of the texts before
  uint64_t seed = 1;
};

// Sums over the texts of one kind.
struct DecodeSums {
  uint32_t n_text = 0;
  uint32_t n_other = 0;  // texts that differ from the first decoder's: a fault
  uint64_t n_token = 0;  // that steps brought: without the first of each text
  uint64_t n_step = 0;
  uint64_t n_row = 0;
  double decode_ms = 0;
  double draft_ms = 0;
  uint64_t bytes_up = 0, bytes_down = 0;
  uint32_t most_frames = 0;
  // Of steps that were alone in flight.
  uint64_t n_alone = 0;
  double wait_ms = 0;
  double body_ms = 0;
  std::optional<double> rtt_ms;  // the smallest that was seen

  double tokens_per_second() const { return decode_ms > 0 ? 1e3 * double(n_token) / decode_ms : 0; }
  double tokens_per_step() const { return n_step > 0 ? double(n_token) / double(n_step) : 0; }
  void add(const DecodeSums& other);
};

struct DecodeResult {
  std::string type, decoder;
  double temperature = 0;
  std::optional<Link> link;
  DecodeSums sums;
};

struct TypeFacts {
  std::string type;
  uint32_t n_prompt = 0;
  uint32_t n_loop = 0;        // texts that ended in a loop
  uint64_t n_token = 0;       // of all texts, at every temperature
  uint64_t n_loop_token = 0;  // of which: after their first round
};

struct DecodeBench {
  std::vector<TypeFacts> types;
  std::vector<DecodeResult> results;
};

// Where the model's parts are joined by a stage whose link can be set: `link`. `network` says what
// was carried so far.
struct BenchSubject {
  TextModel* model = nullptr;
  DelayedStage* delayed = nullptr;
  std::function<std::optional<NetworkUse>()> network;
};

[[nodiscard]] Result<DecodeBench> bench_decode(const BenchSubject& subject,
                                               const std::vector<PromptSet>& sets,
                                               const DecodeBenchOptions& options,
                                               const ProgressFn& progress);

// "prompt-lookup:3" → a drafter; nothing for "sequential". Names what is accepted.
[[nodiscard]] Result<std::unique_ptr<Drafter>> drafter_of(const std::string& decoder,
                                                          uint32_t n_vocab);

}  // namespace splitd::cli

// Owns: what guesses ahead for a model that is served: the drafter that --decoder names, the models
// that it guesses with, and the controller that decides how much of it is sent. What they learn
// stays from one text to the next, and with --corpus from one process to the next. One thread uses
// it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/decode/controller.h"
#include "runtime/decode/drafters/corpus.h"
#include "runtime/decode/drafters/model_drafter.h"
#include "runtime/decode/session.h"
#include "tools/command.h"
#include "tools/generate/local_model.h"

namespace splitd::cli {

// --decoder, by default `fallback`, --draft-model and --corpus.
[[nodiscard]] FlagGroup decoder_flags(const char* fallback);

// Refuses flags that contradict each other, and a corpus that cannot be written; before anything is
// opened.
[[nodiscard]] Status check_decoder_flags(const Context& context);

class Speculation {
 public:
  // As the flags say, for `model`, whose parts are computed as `pipeline` says; both must outlive
  // it. `most_rows` of a step. `tokenizer`: nullptr where the model has none.
  static Result<std::unique_ptr<Speculation>> make(Context& context, LocalModel& model,
                                                   const Tokenizer* tokenizer,
                                                   const Pipeline& pipeline, uint32_t most_rows);

  // Makes the next text use it.
  void apply(const SamplingOptions& sampling, GenerateOptions& options);
  // Keeps a text, prompt and answer, for later processes where there is a corpus.
  Status keep(std::span<const uint32_t> prompt, std::span<const uint32_t> answer);
  const std::string& name() const { return name_; }

 private:
  Speculation(std::string name, const ControllerLimits& limits)
      : name_(std::move(name)), controller_(limits) {}
  Status open_draft_model(const Context& context, LocalModel& model);
  Status open_early_exit(LocalModel& model, const Pipeline& pipeline);

  std::string name_;
  std::unique_ptr<LocalModel> small_;               // --draft-model
  std::vector<std::unique_ptr<Backend>> backends_;  // of small_, or of parts of the model
  std::optional<DraftModel> guesser_;
  std::optional<TokenCorpus> corpus_;
  std::unique_ptr<Drafter> drafter_;  // nullptr: sequential
  Controller controller_;
};

}  // namespace splitd::cli

#include "tools/generate/speculation.h"

#include <algorithm>
#include <utility>

#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/drafters/same_vocabulary.h"
#include "tools/generate/options.h"
#include "tools/model_path.h"

namespace splitd::cli {

// Rows of a guessing model's own keys and values: a longer text gets no guesses.
static constexpr uint32_t kDraftContext = 8192;

FlagGroup decoder_flags(const char* fallback) {
  return {.title = "Speculation",
          .flags = {
              {.name = "decoder",
               .kind = FlagKind::choice,
               .metavar = "NAME",
               .help = "what guesses ahead; the text is the same with all of them",
               .fallback = fallback,
               .choices = "auto|sequential|jacobi|lookahead|prompt-lookup|suffix|recycle|draft|"
                          "early-exit"},
              {.name = "draft-model",
               .kind = FlagKind::text,
               .metavar = "MODEL",
               .help = "a small model with the same vocabulary, for --decoder draft"},
              {.name = "corpus",
               .kind = FlagKind::file,
               .help = "token ids of earlier texts, read and added to (auto, suffix)"},
          }};
}

Status check_decoder_flags(const Context& context) {
  const std::string& name = context.text("decoder");
  if (name == "draft" && !context.given("draft-model")) {
    return usage_error("--decoder draft: --draft-model says which model guesses");
  }
  if (name != "draft" && context.given("draft-model")) {
    return usage_error("--draft-model: --decoder " + name +
                       " does not use it; --decoder draft does");
  }
  if (!context.given("corpus")) return {};
  if (name != "auto" && name != "suffix") {
    return usage_error("--corpus: --decoder " + name + " does not use it; auto and suffix do");
  }
  Status status = TokenCorpus::check_path(context.text("corpus"));
  if (!status.ok()) return status.take_error().within("--corpus");
  return {};
}

Result<std::unique_ptr<Speculation>> Speculation::make(Context& context, LocalModel& model,
                                                       const Tokenizer* tokenizer,
                                                       const Pipeline& pipeline,
                                                       uint32_t most_rows) {
  const std::string& name = context.text("decoder");
  const ControllerLimits limits{.most_rows = std::min(most_rows, pipeline.max_rows),
                                .most_frames = pipeline.most_frames};
  std::unique_ptr<Speculation> out(new Speculation(name, limits));
  if (name == "sequential") return out;
  if (name == "draft") SPLITD_TRY(out->open_draft_model(context, model));
  if (name == "early-exit") SPLITD_TRY(out->open_early_exit(model, pipeline));
  DrafterOptions options;
  options.n_vocab = model.config().n_vocab;
  options.model = out->guesser_ ? &*out->guesser_ : nullptr;
  if (context.given("corpus")) {
    // Without a tokenizer nobody can tell vocabularies of one size apart.
    out->corpus_ =
        TokenCorpus::open(context.text("corpus"),
                          tokenizer != nullptr ? vocabulary_digest(*tokenizer) : Sha256Digest(),
                          options.n_vocab, context.log());
    options.corpus = &*out->corpus_;
  }
  SPLITD_ASSIGN(out->drafter_, make_drafter(name, options));
  return out;
}

Status Speculation::open_draft_model(const Context& context, LocalModel& model) {
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.n_ctx = 0;
  engine.exact = false;  // a guess is none the better for it
  SPLITD_ASSIGN(const std::string path, resolve_model(context.text("draft-model")));
  SPLITD_ASSIGN(small_, LocalModel::open(path, engine));
  SPLITD_TRY(check_same_vocabulary(model.files(), small_->files()));
  SPLITD_ASSIGN(std::unique_ptr<Backend> backend, small_->backend(small_->whole()));
  DraftModel& guesser = guesser_.emplace();
  guesser.embedding = guesser.head = backend.get();
  guesser.parts = {{backend.get(), small_->whole().layers}};
  guesser.n_vocab = model.config().n_vocab;
  guesser.n_ctx = static_cast<uint32_t>(std::min<uint64_t>(small_->config().n_ctx, kDraftContext));
  guesser.kv = engine.kv;
  guesser.table = &model.table();
  backends_.push_back(std::move(backend));
  return {};
}

// The ends of a split, which are here anyway; of a whole model about as much.
Status Speculation::open_early_exit(LocalModel& model, const Pipeline& pipeline) {
  DraftModel& guesser = guesser_.emplace();
  const uint32_t n_layer = model.config().n_layer;
  guesser.embedding = pipeline.head;
  guesser.head = pipeline.tail;
  if (pipeline.head != pipeline.tail) {
    guesser.parts = {{pipeline.head, pipeline.head_layers}, {pipeline.tail, pipeline.tail_layers}};
  } else {
    const uint32_t n = std::max(1u, n_layer / 12);
    for (const LayerRange layers : {LayerRange{0, n}, LayerRange{n_layer - n, n_layer}}) {
      SPLITD_ASSIGN(std::unique_ptr<Backend> part, model.backend({layers, false, false}));
      guesser.parts.push_back({part.get(), layers});
      backends_.push_back(std::move(part));
    }
  }
  guesser.n_vocab = model.config().n_vocab;
  guesser.n_ctx = static_cast<uint32_t>(std::min<uint64_t>(model.config().n_ctx, kDraftContext));
  guesser.table = &model.table();
  return {};
}

void Speculation::apply(const SamplingOptions& sampling, GenerateOptions& options) {
  if (drafter_ == nullptr) return;
  drafter_->sample_like(sampling);
  options.drafter = drafter_.get();
  options.controller = &controller_;
}

Status Speculation::keep(std::span<const uint32_t> prompt, std::span<const uint32_t> answer) {
  if (!corpus_) return {};
  std::vector<uint32_t> text(prompt.begin(), prompt.end());
  text.insert(text.end(), answer.begin(), answer.end());
  return corpus_->record(text);
}

}  // namespace splitd::cli

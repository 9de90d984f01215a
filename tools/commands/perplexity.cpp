// `splitd perplexity`: how well a model predicts a text. exp of the mean negative log likelihood,
// natural logarithm, of every token of the text; of all but the first where nothing stands before
// it. Where the model's texts begin with BOS every window does: some models compute what they never
// computed in training without it. --no-special leaves it out, as
// tests/golden/smollm2_reference.py does. Longer texts go through windows of --ctx tokens, each
// beginning half a window behind the one before, so that a token is scored once and with at least
// half a window before it.
#include <algorithm>
#include <cmath>
#include <string>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "tools/commands.h"
#include "tools/generate/cancel_watch.h"
#include "tools/generate/options.h"
#include "tools/generate/text_model.h"
#include "tools/model_path.h"
#ifdef SPLITD_NET
#include "tools/network/wired.h"
#endif

namespace splitd::cli {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

// −log p(token) under the softmax of the logits.
double negative_log_likelihood(std::span<const float> logits, uint32_t token) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - largest);
  return std::log(sum) - (double{logits[token]} - largest);
}

// What is scored, and what stands before each window of it.
struct Text {
  std::vector<uint32_t> ids;
  std::vector<uint32_t> begin;

  size_t n_unscored() const { return begin.empty() ? 1 : 0; }
};

Result<Text> read_text(Context& context, TextModel& model) {
  const std::string& path = context.argument("FILE");
  SPLITD_ASSIGN(const std::string text,
                path == "-" ? context.read_stdin(kMaxTextBytes) : read_file(path, kMaxTextBytes));
  SPLITD_ASSIGN(const Tokenizer* tokenizer, model.tokenizer());
  Text out;
  SPLITD_ASSIGN(out.ids, tokenizer->encode(text, {.add_special = false}));
  if (!context.flag("no-special")) out.begin = tokenizer->text_begin();
  if (out.ids.size() < 2) {
    return usage_error((path == "-" ? "stdin" : path) + ": a text of " +
                       std::to_string(out.ids.size()) + " tokens; at least 2 are needed");
  }
  return out;
}

// The sum over all tokens that something stands before.
Result<double> score_text(Context& context, TextModel& model, const Text& text, size_t window) {
  SPLITD_ASSIGN(Session * session, model.session(window, 0));
  const ProgressFn progress = context.progress();
  double total = 0;
  size_t n_scored = text.n_unscored();  // tokens of the text that are done
  const size_t n_begin = text.begin.size();
  if (window <= n_begin) {
    return usage_error("--ctx: " + std::to_string(window) + "; a window of at least " +
                       std::to_string(n_begin + 1) + " is accepted");
  }
  const size_t most = window - n_begin;
  std::vector<uint32_t> part;
  for (size_t begin = 0; n_scored < text.ids.size(); begin += std::max<size_t>(most / 2, 1)) {
    const std::span<const uint32_t> some =
        std::span(text.ids).subspan(begin, std::min(most, text.ids.size() - begin));
    part.assign(text.begin.begin(), text.begin.end());
    part.insert(part.end(), some.begin(), some.end());
    const CancelWatch watch(context, [&] { session->cancel(); });
    SPLITD_TRY(session->score(part, [&](size_t row, std::span<float> logits) -> Status {
      // The row speaks of the token behind it.
      if (row + 1 == part.size() || begin + row + 1 != n_scored + n_begin) return {};
      const double loss = negative_log_likelihood(logits, part[row + 1]);
      if (!std::isfinite(loss)) {
        return model_error("the logits for token " + std::to_string(n_scored) +
                           " of the text are not finite");
      }
      total += loss;
      n_scored += 1;
      return progress({"text", n_scored, text.ids.size()}) ? Status() : interrupted_error();
    }));
  }
  return total;
}

struct Measured {
  double perplexity = 0;
  uint64_t n_token = 0;
};

Result<Measured> measure(Context& context, const EngineOptions& engine, TextModel& model,
                         const Text& text) {
  SPLITD_TRY(model.read_ahead(context.progress()));
  const uint64_t most = engine.n_ctx != 0 ? engine.n_ctx : model.config().n_ctx;
  const size_t n_row = text.begin.size() + text.ids.size();
  SPLITD_ASSIGN(const double total,
                score_text(context, model, text, std::min<uint64_t>(most, n_row)));
  context.end_progress();
  return Measured{std::exp(total / static_cast<double>(text.ids.size() - text.n_unscored())),
                  text.ids.size()};
}

std::string perplexity_text(const Measured& measured) {
  char line[64];
  std::snprintf(line, sizeof line, "perplexity %.4f over %zu tokens", measured.perplexity,
                static_cast<size_t>(measured.n_token));
  return line;
}

#ifdef SPLITD_NET
// The same text with every wire type between the parts of a split, beside no split.
Status compare_wires(Context& context, const EngineOptions& engine, const std::string& path,
                     const Text& text, const Measured& whole) {
  const bool as_json = context.flag("json");
  JsonWriter json;
  json.begin_object().field("perplexity", whole.perplexity).field("tokens", whole.n_token);
  json.key("wire").begin_object();
  for (const std::string_view name : split_choices("f32|bf16|f16|q8|q4")) {
    SPLITD_ASSIGN(const WireType wire, wire_of_name(name));
    SPLITD_ASSIGN(const std::unique_ptr<TextModel> model,
                  open_wired(path, engine, static_cast<uint32_t>(context.integer("head")),
                             static_cast<uint32_t>(context.integer("tail")), wire));
    SPLITD_ASSIGN(const Measured measured, measure(context, engine, *model, text));
    json.field(name, measured.perplexity);
    if (as_json) continue;
    char change[32];
    std::snprintf(change, sizeof change, " (%+.3f %%)",
                  100 * (measured.perplexity / whole.perplexity - 1));
    context.out().write(std::string(name) + " wire: " + perplexity_text(measured) + change + "\n");
    SPLITD_TRY(context.out().flush());
  }
  if (as_json) context.out().write(json.end_object().end_object().take() + "\n");
  return {};
}
#endif

Status run_perplexity(Context& context) {
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
  if (engine.n_ctx == 1) return usage_error("--ctx: 1; a window of at least 2 is accepted");
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, TextModel::open(path, engine));
  SPLITD_ASSIGN(const Text text, read_text(context, *model));
  SPLITD_ASSIGN(const Measured whole, measure(context, engine, *model, text));
  if (!context.flag("json")) {
    context.out().write(perplexity_text(whole) + "\n");
    SPLITD_TRY(context.out().flush());
  }
#ifdef SPLITD_NET
  if (context.flag("wires")) return compare_wires(context, engine, path, text, whole);
#endif
  if (context.flag("json")) {
    JsonWriter json;
    json.begin_object().field("perplexity", whole.perplexity).field("tokens", whole.n_token);
    context.out().write(json.end_object().take() + "\n");
  }
  return {};
}

FlagGroup perplexity_flags() {
  return {.flags = {
              {.name = "json", .help = "as JSON"},
              {.name = "no-special", .help = "no BOS before the text, whatever the model's have"},
#ifdef SPLITD_NET
              {.name = "wires", .help = "also in a split, with every wire type"},
              {.name = "head",
               .kind = FlagKind::integer,
               .help = "…after N layers",
               .fallback = "1",
               .min = 0,
               .max = kMaxLayers},
              {.name = "tail",
               .kind = FlagKind::integer,
               .help = "…and before the last N",
               .fallback = "1",
               .min = 0,
               .max = kMaxLayers},
#endif
          }};
}

}  // namespace

Command perplexity_command() {
  return {.name = "perplexity",
          .summary = "measure how well a model predicts a text",
          .positionals = {{.name = "MODEL",
                           .help = "a model directory, or org/name that was pulled",
                           .completes = Completes::model},
                          {.name = "FILE",
                           .help = "a text, or - for stdin",
                           .completes = Completes::file}},
          .flags = {perplexity_flags(), engine_flags()},
          .examples = {{"splitd perplexity ./SmolLM2 book.txt --ctx 2048"}},
          .run = run_perplexity};
}

}  // namespace splitd::cli

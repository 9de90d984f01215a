#include "tools/commands/bench_decode.h"

#include <algorithm>
#include <charconv>

#include "runtime/engine/local_stage.h"
#include "tools/generate/options.h"
#include "tools/generate/text_model.h"
#include "tools/measure/decode_bench.h"
#include "tools/measure/decode_report.h"
#include "tools/model_path.h"
#ifdef SPLITD_NET
#include "tools/network/body_flags.h"
#include "tools/network/ends.h"
#endif

namespace splitd::cli {
namespace {

constexpr uint32_t kFramesInFlight = kReplyWindow - 2;  // cancel() needs one

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    if (end > at) out.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

Result<std::vector<double>> numbers(Context& context, const char* flag, double least, double most) {
  std::vector<double> out;
  for (const std::string& word : words(context.text(flag))) {
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || !(value >= least) ||
        !(value <= most)) {
      return usage_error("bench: --" + std::string(flag) + ": " + quoted(word) + "; numbers from " +
                         std::to_string(static_cast<int64_t>(least)) + " to " +
                         std::to_string(static_cast<int64_t>(most)) + " are accepted");
    }
    out.push_back(value);
  }
  return out;
}

Result<DecodeBenchOptions> read_options(Context& context) {
  DecodeBenchOptions options;
  options.decoders = words(context.text("decoders"));
  if (options.decoders.empty()) return usage_error("bench: --decoders: no name is given");
  for (const std::string& decoder : options.decoders) {
    if (Result<std::unique_ptr<Drafter>> made = drafter_of(decoder, 16); !made) {
      return made.take_error();
    }
  }
  SPLITD_ASSIGN(options.temperatures, numbers(context, "temperatures", 0, 100));
  if (options.temperatures.empty()) options.temperatures = {0};
  SPLITD_ASSIGN(const std::vector<double> trips, numbers(context, "rtt", 0, 10000));
  for (const double rtt : trips) options.links.push_back({rtt, context.real("rate")});
  if (context.given("rate") && trips.empty()) return usage_error("bench: --rate needs --rtt");
  options.max_tokens =
      context.given("n-gen") ? static_cast<uint32_t>(context.integer("n-gen")) : 64;
  if (options.max_tokens < 2) return usage_error("bench decode: -n: at least 2 are accepted");
  options.most_prompts = static_cast<uint32_t>(context.integer("texts"));
  options.warm = context.flag("warm");
  options.seed = static_cast<uint64_t>(context.integer("seed"));
  return options;
}

Result<std::vector<PromptSet>> read_sets(Context& context) {
  if (!context.given("prompts")) {
    return usage_error(
        "bench decode: --prompts FILE or DIRECTORY is needed; a line '=== NAME' "
        "begins a prompt");
  }
  SPLITD_ASSIGN(std::vector<PromptSet> sets, read_prompt_sets(context.text("prompts")));
  const std::vector<std::string> types = words(context.text("types"));
  for (const std::string& type : types) {
    if (std::none_of(sets.begin(), sets.end(), [&](const auto& set) { return set.type == type; })) {
      std::string known;
      for (const PromptSet& set : sets) known += (known.empty() ? "" : ", ") + set.type;
      return usage_error("bench: --types: no " + quoted(type) + " there; there are " + known);
    }
  }
  if (!types.empty()) {
    std::erase_if(sets, [&](const PromptSet& set) {
      return std::find(types.begin(), types.end(), set.type) == types.end();
    });
  }
  return sets;
}

struct Ends {
  uint32_t head = 2, tail = 2;
};

Result<Ends> read_ends(Context& context, uint32_t n_layer) {
  Ends ends;
#ifdef SPLITD_NET
  if (context.given("head")) ends.head = static_cast<uint32_t>(context.integer("head"));
  if (context.given("tail")) ends.tail = static_cast<uint32_t>(context.integer("tail"));
#else
  (void)context;
#endif
  if (uint64_t{ends.head} + ends.tail >= n_layer) {
    return usage_error("bench: ends of " + std::to_string(ends.head) + " and " +
                       std::to_string(ends.tail) + " layers leave the body none of " +
                       std::to_string(n_layer));
  }
  return ends;
}

// The model in three parts here, the one between behind a link that is not there.
Result<ModelParts> place_apart(Context& context, LocalModel& model, DelayedStage*& delayed,
                               std::string& where) {
  class Body final : public Stage {
   public:
    explicit Body(std::unique_ptr<Backend> backend)
        : backend_(std::move(backend)), stage_(*backend_) {}
    Result<SessionId> open(const KvShape& shape) override { return stage_.open(shape); }
    Status submit(SessionId session, const StageRequest& request) override {
      return stage_.submit(session, request);
    }
    Status next(SessionId session, Deadline deadline, StageReply& reply) override {
      return stage_.next(session, deadline, reply);
    }
    void close(SessionId session) override { stage_.close(session); }
    bool takes_bulk() const override { return stage_.takes_bulk(); }

   private:
    std::unique_ptr<Backend> backend_;
    LocalStage stage_;
  };

  const uint32_t n_layer = model.config().n_layer;
  SPLITD_ASSIGN(const Ends ends, read_ends(context, n_layer));
  const LayerRange between{ends.head, n_layer - ends.tail};
  where = std::to_string(ends.head) + "/" + std::to_string(between.end - between.begin) + "/" +
          std::to_string(ends.tail) + " here";
  ModelParts parts;
  parts.here = {model.whole()};
  SPLITD_ASSIGN(parts.head, model.backend({{0, ends.head}, true, false}));
  SPLITD_ASSIGN(parts.tail, model.backend({{between.end, n_layer}, false, true}));
  SPLITD_ASSIGN(std::unique_ptr<Backend> middle, model.backend({between, false, false}));
  auto stage =
      std::make_unique<DelayedStage>(std::make_unique<Body>(std::move(middle)),
                                     DelayedStage::Inner::computes_in_next, model.config().d_model);
  delayed = stage.get();
  parts.body = std::move(stage);
  parts.pipeline.head = parts.head.get();
  parts.pipeline.head_layers = {0, ends.head};
  parts.pipeline.body = parts.body.get();
  parts.pipeline.tail = parts.tail.get();
  parts.pipeline.tail_layers = {between.end, n_layer};
  parts.pipeline.table = &model.table();
  return parts;
}

NetworkUse use_of(const LinkUse& use) {
  return {.rtt_ms = use.rtt_ms,
          .bytes_up = use.bytes_up,
          .bytes_down = use.bytes_down,
          .n_reconnect = 0,
          .n_step = use.n_step,
          .step_ms = use.step_ms,
          .body_ms = use.body_ms};
}

}  // namespace

Status run_bench_decode(Context& context) {
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
  SPLITD_ASSIGN(DecodeBenchOptions options, read_options(context));
  SPLITD_ASSIGN(const std::vector<PromptSet> sets, read_sets(context));
  if (!context.given("SECOND")) return usage_error("bench decode: MODEL is missing");
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("SECOND")));

  DecodeSubject subject;
  subject.where = "all of it here";
  std::unique_ptr<TextModel> model;
  BenchSubject what;
  bool is_remote = false;
#ifdef SPLITD_NET
  if (context.given("body")) {
    if (!options.links.empty()) {
      return usage_error(
          "bench decode: --rtt is for a body in this process, --body is reached "
          "over the link that is there");
    }
    SPLITD_ASSIGN(const BodyChoice choice, read_body_flags(context));
    SPLITD_ASSIGN(model, open_ends(context, path, engine, choice));
    subject.where = "body elsewhere";
    what.network = [&] { return model->network(); };
    is_remote = true;
  }
#endif
  if (!options.links.empty()) {
    SPLITD_ASSIGN(model, TextModel::open(path, engine, [&](LocalModel& local) {
                    return place_apart(context, local, what.delayed, subject.where);
                  }));
    what.network = [&] { return std::optional(use_of(what.delayed->use())); };
  } else if (!is_remote) {
    SPLITD_ASSIGN(model, TextModel::open(path, engine));
  }
  options.most_frames = is_remote || what.delayed != nullptr ? kFramesInFlight : 1;
  if (context.given("frames")) {
    options.most_frames = static_cast<uint32_t>(context.integer("frames"));
  }
  what.model = model.get();
  SPLITD_TRY(model->read_ahead(context.progress()));
  SPLITD_ASSIGN(const DecodeBench bench, bench_decode(what, sets, options, context.progress()));
  context.end_progress();
  subject.path = printable(path);
  subject.arith = model->backend().arith();
  subject.kv = context.text("kv");
  subject.n_thread = engine.n_thread;
  context.out().write(context.flag("json") ? decode_json(subject, options, bench)
                                           : decode_text(subject, options, bench));
  const bool differ = std::any_of(bench.results.begin(), bench.results.end(),
                                  [](const DecodeResult& r) { return r.sums.n_other > 0; });
  if (differ) return failed("bench decode: a decoder wrote another text than the first one");
  return {};
}

FlagGroup decode_bench_flags() {
  return {.title = "bench decode",
          .flags = {{.name = "prompts",
                     .kind = FlagKind::file,
                     .help = "what is decoded: a file or directory of prompts"},
                    {.name = "types",
                     .kind = FlagKind::text,
                     .metavar = "A,B,…",
                     .help = "only these files of the directory"},
                    {.name = "texts",
                     .kind = FlagKind::integer,
                     .help = "at most so many of each; 0: all",
                     .fallback = "0",
                     .min = 0,
                     .max = 1e6},
                    {.name = "decoders",
                     .kind = FlagKind::text,
                     .metavar = "A,B,…",
                     .help = "names of --decoder; prompt-lookup:N has one n-gram",
                     .fallback = "sequential,prompt-lookup,suffix,recycle,auto"},
                    {.name = "temperatures",
                     .kind = FlagKind::text,
                     .metavar = "X,Y,…",
                     .help = "what is sampled at",
                     .fallback = "0"},
                    {.name = "seed",
                     .kind = FlagKind::integer,
                     .help = "of sampling",
                     .fallback = "1",
                     .min = 0,
                     .max = 9e15},
                    {.name = "warm", .help = "drafters keep what they learnt of the texts before"},
                    {.name = "rtt",
                     .kind = FlagKind::text,
                     .metavar = "MS,…",
                     .help = "split here, behind links of these round trips"},
                    {.name = "rate",
                     .kind = FlagKind::real,
                     .metavar = "MBIT",
                     .help = "of those links, in Mbit/s; 0: no limit",
                     .fallback = "100",
                     .min = 0,
                     .max = 1e6},
                    {.name = "frames",
                     .kind = FlagKind::integer,
                     .help = "at most so many in flight; 1: no pipelining",
                     .min = 1,
                     .max = kFramesInFlight}}};
}

}  // namespace splitd::cli

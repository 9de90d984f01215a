// `splitd bench`: how fast a model runs on this machine, beside what its memory allows.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include "runtime/base/json.h"
#include "runtime/base/memory.h"
#include "tools/commands.h"
#include "tools/commands/bench_decode.h"
#include "tools/doctor/facts.h"
#include "tools/generate/options.h"
#include "tools/generate/text_model.h"
#include "tools/measure/model_bench.h"
#include "tools/model_path.h"
#ifdef SPLITD_NET
#include "tools/network/body_flags.h"
#include "tools/network/split_bench.h"
#include "tools/network/tls_flags.h"
#endif

namespace splitd::cli {
namespace {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

Result<BenchOptions> read_options(const Context& context, const ModelConfig& config) {
  const auto number = [&](const char* flag) {
    return static_cast<uint32_t>(context.integer(flag));
  };
  BenchOptions options{.n_prompt = number("n-prompt"),
                       .n_gen = number("n-gen"),
                       .depth = number("depth"),
                       .repetitions = number("repetitions"),
                       .rows = {}};
  if (!context.given("n-prompt")) {
    options.n_prompt = static_cast<uint32_t>(std::min<uint64_t>(options.n_prompt, config.n_ctx));
  }
  for (const int64_t rows : context.integers("rows")) {
    if (rows < 0 || rows > TextModel::kMostStepRows) {
      return usage_error("bench: --rows: " + std::to_string(rows) + "; a step has from 1 to " +
                         std::to_string(TextModel::kMostStepRows) + " rows, and 0 measures none");
    }
    if (rows != 0) options.rows.push_back(static_cast<uint32_t>(rows));
  }
  if (options.rows.empty()) return options;
  options.rows.push_back(1);  // what the others are compared with
  std::sort(options.rows.begin(), options.rows.end());
  options.rows.erase(std::unique(options.rows.begin(), options.rows.end()), options.rows.end());
  return options;
}

struct Subject {
  std::string path, arith, kv;
  uint32_t n_thread = 0;
  BenchOptions options;
};

void write_samples(JsonWriter& json, const char* name, const Samples& samples, double scale = 1) {
  json.key(name).begin_object();
  json.field("best", samples.best() * scale).field("median", samples.median() * scale);
  json.end_object();
}

std::string make_json(const Subject& subject, const BenchResult& result) {
  JsonWriter json;
  json.begin_object().field("model", std::string_view(subject.path));
  json.field("arith", std::string_view(subject.arith)).field("kv", std::string_view(subject.kv));
  json.field("threads", subject.n_thread).field("token_bytes", result.token_bytes);
  json.field("repetitions", subject.options.repetitions);
  if (!result.read.empty()) write_samples(json, "read_gb_per_second", result.read, 1e-9);
  if (!result.decode.empty()) {
    json.key("decode").begin_object().field("tokens", subject.options.n_gen);
    json.field("depth", subject.options.depth);
    write_samples(json, "tokens_per_second", result.decode);
    write_samples(json, "gb_per_second", result.decode,
                  static_cast<double>(result.token_bytes) * 1e-9);
    if (!result.decode_of_read.empty()) write_samples(json, "of_read", result.decode_of_read);
    json.end_object();
  }
  if (!result.prefill.empty()) {
    json.key("prefill").begin_object().field("tokens", subject.options.n_prompt);
    write_samples(json, "tokens_per_second", result.prefill);
    json.end_object();
  }
  if (!result.steps.empty()) {
    json.key("steps").begin_array();
    for (const StepSamples& step : result.steps) {
      json.begin_object().field("rows", step.rows);
      write_samples(json, "ms", step.seconds, 1e3);
      json.key("cost").begin_object();
      json.field("best", step.seconds.best() / result.steps.front().seconds.best());
      json.field("median", step.cost.median()).end_object().end_object();
    }
    json.end_array();
  }
  return json.end_object().take() + "\n";
}

std::string make_text(const Subject& subject, const BenchResult& result) {
  const double token_gb = static_cast<double>(result.token_bytes) * 1e-9;
  std::string out = subject.path + ": " + subject.arith + ", kv " + subject.kv +
                    format(", %u thread%s, %.3f GB of weights a token\n\n", subject.n_thread,
                           subject.n_thread == 1 ? "" : "s", token_gb) +
                    "                      best    median\n";
  const auto line = [&](const std::string& name, const Samples& samples, double scale,
                        const char* unit) {
    out += format("%-16s%10.2f%10.2f  %s\n", name.c_str(), samples.best() * scale,
                  samples.median() * scale, unit);
  };
  if (!result.read.empty()) line("streaming read", result.read, 1e-9, "GB/s");
  if (!result.decode.empty()) {
    line("decode " + std::to_string(subject.options.n_gen), result.decode, 1, "tok/s");
    line("  weights", result.decode, token_gb, "GB/s");
  }
  if (!result.decode_of_read.empty()) line("  of the read", result.decode_of_read, 100, "%");
  if (!result.prefill.empty()) {
    line("prefill " + std::to_string(subject.options.n_prompt), result.prefill, 1, "tok/s");
  }
  for (const StepSamples& step : result.steps) {
    const std::string unit = format("ms, %.2f times one row", step.cost.median());
    line(format("step of %u row%s", step.rows, step.rows == 1 ? "" : "s"), step.seconds, 1e3,
         unit.c_str());
  }
  return out;
}

Status run_bench(Context& context) {
  // A model that is called like this is ./decode.
  if (context.argument("MODEL") == "decode") return run_bench_decode(context);
  if (context.given("SECOND")) {
    return usage_error("bench: " + quoted(context.argument("SECOND")) +
                       " is one argument too many; only 'bench decode' takes a MODEL behind it");
  }
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
#ifdef SPLITD_NET
  if (context.given("body")) {
    return bench_split(context, path, engine, static_cast<uint32_t>(context.integer("n-prompt")),
                       static_cast<uint32_t>(context.integer("n-gen")),
                       static_cast<uint32_t>(context.integer("repetitions")));
  }
#endif
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, TextModel::open(path, engine));
  SPLITD_ASSIGN(const BenchOptions options, read_options(context, model->config()));
  SPLITD_TRY(model->read_ahead(context.progress()));

  const uint64_t probe_bytes = ReadProbe::default_bytes(largest_cache(cpu_facts()));
  std::optional<ReadProbe> probe;
  const bool read = !context.flag("no-read");
  if (read && available_memory_bytes() > 2 * probe_bytes) {
    probe.emplace(model->local().pool(), probe_bytes);
  }
  if (read && (!probe || !probe->ok())) {
    context.log().warning("too little memory is free to measure the streaming read");
  }
  SPLITD_ASSIGN(
      const BenchResult result,
      bench_model(*model, options, probe && probe->ok() ? &*probe : nullptr, context.progress()));
  context.end_progress();
  const Subject subject{printable(path), model->backend().arith(), context.text("kv"),
                        engine.n_thread, options};
  context.out().write(context.flag("json") ? make_json(subject, result)
                                           : make_text(subject, result));
  return {};
}

}  // namespace

Command bench_command() {
  return {.name = "bench",
          .summary = "how fast a model runs here, beside what the memory allows",
          .positionals = {{.name = "MODEL",
                           .help = "a model directory, or org/name that was pulled; or: decode",
                           .completes = Completes::model},
                          {.name = "SECOND",
                           .help = "the model, behind decode: drafters and kinds of text",
                           .completes = Completes::model,
                           .optional = true}},
          .flags = {{.title = "Measure",
                     .flags = {{.name = "n-prompt",
                                .kind = FlagKind::integer,
                                .help = "tokens of the prompt that prefill computes; 0: no prefill",
                                .fallback = "512",
                                .short_name = 'p',
                                .min = 0,
                                .max = 1e6},
                               {.name = "n-gen",
                                .kind = FlagKind::integer,
                                .help = "tokens to decode, one at a time; 0: none",
                                .fallback = "128",
                                .short_name = 'n',
                                .min = 0,
                                .max = 1e6},
                               {.name = "depth",
                                .kind = FlagKind::integer,
                                .help = "tokens of context before those of decode and steps",
                                .fallback = "0",
                                .short_name = 'd',
                                .min = 0,
                                .max = 1e9},
                               {.name = "rows",
                                .kind = FlagKind::integers,
                                .help = "rows of a verification step, all projected; 0: no steps",
                                .fallback = "1,2,4,8,16,32"},
                               {.name = "repetitions",
                                .kind = FlagKind::integer,
                                .help = "rounds of everything, after one that does not count",
                                .fallback = "5",
                                .short_name = 'r',
                                .min = 1,
                                .max = 1e4},
                               {.name = "no-read", .help = "do without the streaming read"},
                               {.name = "json", .help = "one JSON object on stdout"}}},
                    decode_bench_flags(),
                    engine_flags(),
#ifdef SPLITD_NET
                    body_flags(),
                    tls_flags()
#endif
          },
          .examples =
              {
                  {"splitd bench ./SmolLM2"},
                  {"splitd bench decode ./SmolLM2 --prompts tests/prompts --rtt 1,80"},
                  {"splitd bench ./SmolLM2 -p 0 -n 64 --threads 1 --json | jq .decode"},
#ifdef SPLITD_NET
                  {"splitd bench ./SmolLM2 --body gpu.lan:7777 --psk-file pair.psk"},
#endif
              },
          .notes =
              "Decode is compared with the streaming reads just before and after each 16 tokens. "
              "Where other programs compute meanwhile, nothing here means anything.",
          .run = run_bench};
}

}  // namespace splitd::cli

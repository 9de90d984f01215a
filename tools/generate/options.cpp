#include "tools/generate/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>
#include <thread>

#include "runtime/base/files.h"
#include "runtime/base/json.h"

namespace splitd::cli {

FlagGroup sampling_flags() {
  return {.title = "Text",
          .flags = {
              {.name = "max-tokens",
               .kind = FlagKind::integer,
               .help = "the most tokens of an answer",
               .fallback = "1024",
               .short_name = 'n',
               .min = 1,
               .max = 1e9},
              {.name = "temperature",
               .kind = FlagKind::real,
               .metavar = "T",
               .help = "0 takes the likeliest token; by default what generation_config.json says",
               .min = 0,
               .max = 100},
              {.name = "top-k",
               .kind = FlagKind::integer,
               .metavar = "K",
               .help = "sample among the K likeliest; 0: all",
               .min = 0,
               .max = 1e9},
              {.name = "top-p",
               .kind = FlagKind::real,
               .metavar = "P",
               .help = "…among the likeliest that make up P",
               .min = 0,
               .max = 1},
              {.name = "min-p",
               .kind = FlagKind::real,
               .metavar = "P",
               .help = "…among those with at least P of the likeliest's probability",
               .min = 0,
               .max = 1},
              {.name = "repeat-penalty",
               .kind = FlagKind::real,
               .metavar = "R",
               .help = "divide the logits of tokens that were there before",
               .min = 0.001,
               .max = 1000},
              {.name = "presence-penalty",
               .kind = FlagKind::real,
               .metavar = "A",
               .help = "subtract for tokens that were generated before",
               .min = -100,
               .max = 100},
              {.name = "frequency-penalty",
               .kind = FlagKind::real,
               .metavar = "A",
               .help = "…once for each time",
               .min = -100,
               .max = 100},
              {.name = "logit-bias",
               .kind = FlagKind::text,
               .metavar = "ID=X",
               .help = "add X to the logit of token ID",
               .repeatable = true},
              {.name = "seed",
               .kind = FlagKind::integer,
               .metavar = "S",
               .help = "the same seed gives the same text",
               .min = 0},
              {.name = "stop",
               .kind = FlagKind::text,
               .metavar = "STR",
               .help = "end before this text",
               .repeatable = true},
              {.name = "ignore-eos", .help = "the end-of-text token is a token like any other"},
          }};
}

FlagGroup engine_flags() {
  return {.title = "Engine",
          .flags = {
              {.name = "device",
               .kind = FlagKind::text,
               .metavar = "NAME",
               .help = "auto, cpu, cuda or cuda:N",
               .fallback = "auto"},
              {.name = "threads",
               .kind = FlagKind::integer,
               .help = "by default one for each core allowed here",
               .min = 1,
               .max = 1024},
              {.name = "kv",
               .kind = FlagKind::choice,
               .help = "what keys and values are kept as",
               .fallback = "f16",
               .choices = "f32|f16|bf16|q8"},
              {.name = "compute",
               .kind = FlagKind::choice,
               .help = "f32: activations are never rounded below fp32",
               .fallback = "auto",
               .choices = "auto|f32"},
              {.name = "ctx",
               .kind = FlagKind::integer,
               .help = "room for the text, in tokens; by default what it needs",
               .min = 1,
               .max = 4e9},
          }};
}

Result<std::vector<uint32_t>> read_ids(const Context& context, uint32_t n_vocab) {
  std::vector<uint32_t> ids;
  for (const int64_t id : context.integers("ids")) {
    if (id < 0 || id >= int64_t{n_vocab}) {
      return usage_error("--ids: " + std::to_string(id) + " is no token; the vocabulary has " +
                         std::to_string(n_vocab) + ", from 0 on");
    }
    ids.push_back(static_cast<uint32_t>(id));
  }
  return ids;
}

KvType read_kv_type(const Context& context) {
  const std::string& kv = context.text("kv");
  return kv == "f32"    ? KvType::f32
         : kv == "bf16" ? KvType::bf16
         : kv == "q8"   ? KvType::q8
                        : KvType::f16;
}

Result<EngineOptions> read_engine_options(const Context& context) {
  EngineOptions options;
  SPLITD_ASSIGN(options.device, choose_device(context.text("device")));
  options.n_thread = context.given("threads") ? static_cast<uint32_t>(context.integer("threads"))
                                              : std::max(1u, std::thread::hardware_concurrency());
  options.kv = read_kv_type(context);
  options.exact = context.text("compute") == "f32";
  if (context.given("ctx")) options.n_ctx = static_cast<uint32_t>(context.integer("ctx"));
  return options;
}

// A number of the file, to `out`; nothing and null leave that as it is.
static Status read_number(Json config, const char* name, double& out) {
  const std::optional<Json> field = config.find(name);
  if (!field || field->is_null()) return {};
  const std::optional<double> number = field->to_f64();
  if (!number) {
    return model_error(std::string(name) + " is " + field->describe() + "; accepted: a number");
  }
  out = *number;
  return {};
}

static Status read_fields(Json config, SamplingOptions& options) {
  double top_k = 50;
  SPLITD_TRY(read_number(config, "top_k", top_k));
  if (!(top_k >= 0 && top_k <= 1e9)) {
    return model_error("top_k is " + config.find("top_k")->describe() +
                       "; 0 (all) to 1000000000 is accepted");
  }
  options.top_k = static_cast<uint32_t>(top_k);
  options.temperature = 1;
  SPLITD_TRY(read_number(config, "temperature", options.temperature));
  SPLITD_TRY(read_number(config, "top_p", options.top_p));
  SPLITD_TRY(read_number(config, "min_p", options.min_p));
  SPLITD_TRY(read_number(config, "repetition_penalty", options.repeat_penalty));
  return check_sampling(options, 0);
}

static Status read_generation_config(const std::string& model_path, SamplingOptions& options) {
  const std::string path = model_path + "/generation_config.json";
  if (!is_directory(model_path) || !path_exists(path)) return {};
  SPLITD_ASSIGN(std::string text, read_file(path, uint64_t{1} << 20));
  Result<JsonDoc> doc = JsonDoc::parse(std::move(text));
  if (!doc) return model_error(path + ": " + doc.error().message);
  const Json config = doc->root();
  const std::optional<Json> sample = config.find("do_sample");
  if (!sample || sample->to_bool() != true) return {};
  Status status = read_fields(config, options);
  if (!status.ok()) return model_error(path + ": " + status.error().message);
  return {};
}

static Result<std::vector<std::pair<uint32_t, float>>> read_biases(const Context& context,
                                                                   uint32_t n_vocab) {
  std::vector<std::pair<uint32_t, float>> out;
  for (const std::string& text : context.texts("logit-bias")) {
    const char* const end = text.data() + text.size();
    uint32_t id = 0;
    float bias = 0;
    const auto [equals, id_error] = std::from_chars(text.data(), end, id);
    bool good = id_error == std::errc() && equals != end && *equals == '=' && id < n_vocab;
    if (good) {
      const auto [last, bias_error] = std::from_chars(equals + 1, end, bias);
      good = bias_error == std::errc() && last == end && std::fabs(bias) <= kMostBias;
    }
    if (!good) {
      return usage_error("--logit-bias: " + quoted(text) + " is not ID=X with ID below " +
                         std::to_string(n_vocab) + ", the vocabulary, and X from -10000 to 10000");
    }
    out.emplace_back(id, bias);
  }
  return out;
}

Result<SamplingOptions> read_sampling(const Context& context, const std::string& model_path,
                                      uint32_t n_vocab) {
  SamplingOptions options;
  SPLITD_TRY(read_generation_config(model_path, options));
  const auto take = [&](const char* flag, auto& field) {
    if (context.given(flag)) field = static_cast<std::decay_t<decltype(field)>>(context.real(flag));
  };
  const bool filters = context.given("top-k") || context.given("top-p") || context.given("min-p");
  if (filters && options.temperature == 0) options.temperature = 1;  // who filters wants to sample
  take("temperature", options.temperature);
  if (context.given("top-k")) options.top_k = static_cast<uint32_t>(context.integer("top-k"));
  take("top-p", options.top_p);
  if (options.top_p == 0) return usage_error("--top-p: 0; above 0 to 1 is accepted");
  take("min-p", options.min_p);
  take("repeat-penalty", options.repeat_penalty);
  take("presence-penalty", options.presence_penalty);
  take("frequency-penalty", options.frequency_penalty);
  SPLITD_ASSIGN(options.logit_bias, read_biases(context, n_vocab));
  if (context.given("seed")) {
    options.seed = static_cast<uint64_t>(context.integer("seed"));
  } else {
    std::random_device random;
    // 53 bits: the seed survives a JSON reader that keeps numbers as doubles.
    options.seed = (uint64_t{random()} << 32 | random()) >> 11;
  }
  SPLITD_TRY(check_sampling(options, n_vocab));
  return options;
}

}  // namespace splitd::cli

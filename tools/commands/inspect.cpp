// `splitd inspect`: what a path holds, for people and as JSON.
#include "runtime/model/inspect.h"

#include <algorithm>
#include <cstdio>

#include "runtime/model/verify.h"
#include "tools/commands.h"
#include "tools/doctor/facts.h"
#include "tools/generate/options.h"
#include "tools/model_path.h"
#include "tools/plan/plan_report.h"

namespace splitd::cli {
namespace {

constexpr size_t kShownNonFinite = 8;
constexpr uint32_t kKvBytes = 2;  // f16, the default
constexpr uint64_t kPlannedContext = 4096;

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string bytes_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 10'000) return std::to_string(bytes) + " B";
  if (value < 999.5e3) return format("%.1f kB", value * 1e-3);
  if (value < 999.5e6) return format("%.1f MB", value * 1e-6);
  return format("%.2f GB", value * 1e-9);
}

std::string count_text(uint64_t count) {
  const auto value = static_cast<double>(count);
  if (count < 10'000) return std::to_string(count);
  if (value < 999.5e3) return format("%.1f k", value * 1e-3);
  if (value < 999.5e6) return format("%.1f M", value * 1e-6);
  return format("%.2f G", value * 1e-9);
}

std::string plural(uint64_t count, std::string_view what) {
  return std::to_string(count) + " " + std::string(what) + (count == 1 ? "" : "s");
}

std::string rope_text(const RopeConfig& rope, const ModelConfig& config) {
  std::string out = format("theta %.10g", rope.theta);
  if (rope.n_rotary < config.d_head) {
    out += format(", %u of %u dimensions", rope.n_rotary, config.d_head);
  }
  if (rope.kind == RopeKind::linear) out += format(", linear %g", rope.factor);
  if (rope.kind == RopeKind::llama3) out += format(", llama3 %g", rope.factor);
  if (rope.kind == RopeKind::longrope) {
    out += format(", longrope beyond %llu", static_cast<unsigned long long>(rope.original_ctx));
  }
  return out;
}

class Text {
 public:
  explicit Text(Output& out) : out_(out) {}
  void line(std::string_view label, const std::string& value) {
    if (value.empty()) return;
    std::string padded(label);
    padded.resize(13, ' ');
    out_.write("  " + padded + value + "\n");
  }

 private:
  Output& out_;
};

std::string shape_line(const ModelConfig& c) {
  std::string out = plural(c.n_layer, "layer") + ", d_model " + std::to_string(c.d_model) + ", " +
                    plural(c.n_head, "head") + " and " + std::to_string(c.n_kv_head) + " kv of " +
                    std::to_string(c.d_head) + ", d_ff " + std::to_string(c.d_ff);
  return out + ", vocabulary " + std::to_string(c.n_vocab) + (c.tied ? ", tied head" : "");
}

std::string experts_line(const ModelConfig& c) {
  if (c.n_expert == 0) return "";
  const auto layers = std::count_if(c.layers.begin(), c.layers.end(),
                                    [](const LayerConfig& layer) { return layer.moe; });
  return std::to_string(c.n_expert) + ", " + std::to_string(c.n_expert_used) + " a token, d_ff " +
         std::to_string(c.d_ff_expert) + ", in " + std::to_string(layers) + " of " +
         plural(c.n_layer, "layer");
}

std::string context_line(const Inspection& inspection, const ModelConfig& c) {
  const uint64_t kv = inspection.kv_bytes_per_token(kKvBytes);
  std::string out = std::to_string(c.n_ctx) + " tokens; KV " + bytes_text(kv) + " a token (f16)";
  const auto windowed = std::count_if(c.layers.begin(), c.layers.end(),
                                      [](const LayerConfig& layer) { return layer.window != 0; });
  if (windowed == 0) return out;
  uint64_t window = 0;
  for (const LayerConfig& layer : c.layers) window = std::max(window, layer.window);
  return out + "; window " + std::to_string(window) + " in " + std::to_string(windowed) + " of " +
         plural(c.n_layer, "layer");
}

std::string dtypes_line(const Inspection& inspection) {
  std::string out = bytes_text(inspection.weight_bytes()) + " in " +
                    plural(inspection.files()->tensors().size(), "tensor") + ", " +
                    plural(inspection.files()->files().size(), "file");
  const std::vector<DTypeUse> uses = inspection.dtypes();
  for (size_t i = 0; i < uses.size(); ++i) {
    out += (i == 0 ? ": " : ", ") + std::string(dtype_name(uses[i].dtype));
    if (uses.size() > 1) out += " " + bytes_text(uses[i].bytes);
  }
  return out;
}

std::string layers_line(const Inspection& inspection) {
  std::vector<uint64_t> bytes = inspection.layer_bytes();
  std::erase(bytes, 0u);
  std::string out;
  if (!bytes.empty()) {
    const auto [least, most] = std::minmax_element(bytes.begin(), bytes.end());
    out = bytes_text(*least);
    if (*least != *most) out += " to " + bytes_text(*most);
    out += " each; ";
  }
  out += "embedding " + bytes_text(inspection.slot_bytes(Slot::embedding));
  const uint64_t head = inspection.slot_bytes(Slot::head);
  return out + (head == 0 ? "" : ", head " + bytes_text(head));
}

std::string memory_line(const Inspection& inspection) {
  const std::optional<uint64_t> resident = process_resident_bytes();
  if (!resident) return "";
  std::string out = bytes_text(*resident) + " in this process";
  const TensorFiles* files = inspection.files();
  const std::optional<uint64_t> touched = files != nullptr ? files->touched_bytes() : std::nullopt;
  if (touched) out += ", of it " + bytes_text(*touched) + " of the files";
  return out + format("; opened in %.1f ms", inspection.open_ms());
}

void write_text(const Inspection& inspection, const std::string& path, Output& out) {
  const ModelConfig* c = inspection.config();
  const ModelFiles* model = inspection.model();
  Text text(out);
  out.write(printable(path) + "\n");
  if (c != nullptr) {
    text.line("model", c->family + ", " + count_text(parameter_count(*c)) + " parameters" +
                           (model != nullptr && model->gguf() != nullptr ? ", GGUF" : "") +
                           (model == nullptr ? ", no weights here" : ""));
    text.line("shape", shape_line(*c));
    text.line("experts", experts_line(*c));
    text.line("rope",
              rope_text(c->ropes.front(), *c) +
                  (c->ropes.size() > 1 ? "; in windows " + rope_text(c->ropes[1], *c) : ""));
    text.line("context", context_line(inspection, *c));
  } else {
    text.line("tensors", count_text(inspection.numbers()) + " numbers; no config, so no model");
  }
  if (inspection.files() != nullptr) text.line("weights", dtypes_line(inspection));
  if (model != nullptr) {
    text.line("a layer", layers_line(inspection));
    if (!model->is_whole()) text.line("here", "a part: " + model->parts_text());
    text.line("tokenizer", model->tokenizer_path().empty() ? "none" : "here");
    text.line("fingerprint", hex(*inspection.fingerprint()));
  }
  text.line("memory", memory_line(inspection));
}

void write_config(JsonWriter& json, const ModelConfig& c) {
  json.field("family", std::string_view(c.family)).field("parameters", parameter_count(c));
  json.field("n_layer", c.n_layer).field("d_model", c.d_model).field("n_vocab", c.n_vocab);
  json.field("n_ctx", c.n_ctx).field("tied", c.tied);
  json.key("dtype");
  if (c.dtype) {
    json.string(dtype_name(*c.dtype));
  } else {
    json.null();
  }
  json.field("bos", c.bos).key("eos").begin_array();
  for (const uint32_t id : c.eos) json.number(uint64_t{id});
  json.end_array().key("config").raw(canonical_config(c));
}

void write_files(JsonWriter& json, const Inspection& inspection) {
  const TensorFiles& files = *inspection.files();
  json.field("tensors", uint64_t{files.tensors().size()});
  json.field("numbers", inspection.numbers()).field("weight_bytes", inspection.weight_bytes());
  json.key("dtypes").begin_object();
  for (const DTypeUse& use : inspection.dtypes()) {
    json.key(dtype_name(use.dtype)).begin_object();
    json.field("tensors", use.tensors).field("bytes", use.bytes).end_object();
  }
  json.end_object().key("files").begin_array();
  for (const MappedFile& file : files.files()) {
    json.begin_object().field("path", std::string_view(file.path()));
    json.field("bytes", file.size()).end_object();
  }
  json.end_array();
}

void write_model(JsonWriter& json, const Inspection& inspection) {
  const ModelFiles& model = *inspection.model();
  json.field("whole", model.is_whole());
  json.field("has_embedding", model.has_embedding()).field("has_head", model.has_head());
  json.field("embedding_bytes", inspection.slot_bytes(Slot::embedding));
  json.field("head_bytes", inspection.slot_bytes(Slot::head));
  json.key("layer_bytes").begin_array();  // null: not here
  for (const uint64_t bytes : inspection.layer_bytes()) {
    if (bytes == 0) {
      json.null();
    } else {
      json.number(bytes);
    }
  }
  json.end_array().field("tokenizer", !model.tokenizer_path().empty());
  json.field("fingerprint", std::string_view(hex(*inspection.fingerprint())));
}

void write_memory(JsonWriter& json, const Inspection& inspection) {
  json.field("open_ms", inspection.open_ms()).key("memory").begin_object();
  if (inspection.config() != nullptr) {
    json.field("kv_bytes_per_token", inspection.kv_bytes_per_token(kKvBytes));
  }
  const std::optional<uint64_t> resident = process_resident_bytes();
  if (resident) json.field("resident_bytes", *resident);
  if (inspection.files() != nullptr) {
    const std::optional<uint64_t> touched = inspection.files()->touched_bytes();
    if (touched) json.field("weights_touched_bytes", *touched);
    json.field("page_cache_bytes", inspection.files()->resident_bytes());
  }
  json.end_object();
}

void write_verify(JsonWriter& json, const VerifyReport& report) {
  json.key("verify").begin_object();
  json.field("bytes", report.bytes).field("skipped_bytes", report.skipped_bytes);
  json.field("seconds", report.seconds).key("non_finite").begin_array();
  for (const NonFinite& found : report.non_finite) {
    json.begin_object().field("tensor", std::string_view(found.tensor));
    json.field("row", found.row).field("column", found.column).field("count", found.count);
    json.end_object();
  }
  json.end_array().end_object();
}

// What --plan asks for.
struct Planned {
  SplitPlan plan;
  ReadSpeed speed;
};

std::string make_json(const Inspection& inspection, const std::string& path, const Planned* planned,
                      const VerifyReport* verify) {
  JsonWriter json;
  json.begin_object().field("path", std::string_view(path));
  json.field("kind", inspection.is_bare_tensors()  ? "tensors"
                     : inspection.is_bare_config() ? "config"
                                                   : "model");
  if (inspection.files() != nullptr) {
    const bool gguf = inspection.model() != nullptr && inspection.model()->gguf() != nullptr;
    json.field("format", gguf ? "gguf" : "safetensors");
  }
  // Before anything below touches more of the files.
  write_memory(json, inspection);
  if (inspection.config() != nullptr) write_config(json, *inspection.config());
  if (inspection.files() != nullptr) write_files(json, inspection);
  if (inspection.model() != nullptr) write_model(json, inspection);
  if (planned != nullptr) {
    json.key("plan");
    write_plan(json, planned->plan, planned->speed);
  }
  if (verify != nullptr) write_verify(json, *verify);
  return json.end_object().take() + "\n";
}

void write_verify_text(const VerifyReport& report, Output& out) {
  Text text(out);
  const double rate = report.seconds > 0.0 ? static_cast<double>(report.bytes) / report.seconds : 0;
  text.line("verified", bytes_text(report.bytes) + format(" at %.1f GB/s: ", rate * 1e-9) +
                            (report.non_finite.empty()
                                 ? "every number is finite"
                                 : plural(report.non_finite.size(), "tensor") + " not finite"));
  const size_t shown = std::min(report.non_finite.size(), kShownNonFinite);
  for (size_t i = 0; i < shown; ++i) {
    const NonFinite& found = report.non_finite[i];
    text.line("", printable(found.tensor) + ": row " + std::to_string(found.row) + ", column " +
                      std::to_string(found.column) +
                      (found.count > 1 ? " and " + std::to_string(found.count - 1) + " more" : ""));
  }
  if (report.non_finite.size() > shown) text.line("", "… (--json lists all)");
}

// The exit code has to say it too.
Status verdict(const VerifyReport& report, const std::string& path) {
  if (report.non_finite.empty()) return {};
  const NonFinite& first = report.non_finite.front();
  return model_error(printable(path) + ": " + quoted_name(first.tensor) + " is not finite at row " +
                     std::to_string(first.row) + ", column " + std::to_string(first.column) +
                     (report.non_finite.size() > 1
                          ? ", and so are " + plural(report.non_finite.size() - 1, "other tensor")
                          : ""));
}

Result<std::optional<Planned>> make_plan(const Context& context, const Inspection& inspection) {
  for (const char* flag : {"memory", "ctx", "kv", "head", "tail", "read-speed"}) {
    if (context.given(flag) && !context.flag("plan")) {
      return usage_error("inspect: --" + std::string(flag) + " is for --plan");
    }
  }
  if (!context.flag("plan")) return std::optional<Planned>();
  if (!context.given("memory")) {
    return usage_error("inspect: --plan asks for --memory, what the device has: --memory 2G");
  }
  if (inspection.config() == nullptr) return usage_error("inspect: --plan asks for a model");
  PlanOptions options;
  options.memory = context.size_bytes("memory");
  options.kv = read_kv_type(context);
  options.n_ctx = static_cast<uint32_t>(std::min(inspection.config()->n_ctx, kPlannedContext));
  if (context.given("ctx")) options.n_ctx = static_cast<uint32_t>(context.integer("ctx"));
  const auto layers = [&](const char* flag) {
    return context.given(flag) ? std::optional(static_cast<uint32_t>(context.integer(flag)))
                               : std::nullopt;
  };
  options.head = layers("head");
  options.tail = layers("tail");
  Planned out;
  SPLITD_ASSIGN(out.plan, plan_split(inspection, options));
  if (context.given("read-speed")) {
    out.speed.bytes_per_second = static_cast<double>(context.size_bytes("read-speed"));
  } else {
    const CpuFacts cpu = cpu_facts();
    out.speed.bytes_per_second = measured_read_speed(cpu, memory_facts(), usable_cores(cpu));
    out.speed.measured = true;
  }
  return std::optional(std::move(out));
}

Status run_inspect(Context& context) {
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("PATH")));
  SPLITD_ASSIGN(const Inspection inspection, Inspection::open(path));
  SPLITD_ASSIGN(const std::optional<Planned> planned, make_plan(context, inspection));
  const Planned* plan = planned ? &*planned : nullptr;
  const bool verify = context.flag("verify") && inspection.files() != nullptr;
  if (!context.flag("json")) {
    write_text(inspection, path, context.out());
    if (plan != nullptr) context.out().write(plan_text(plan->plan, plan->speed, printable(path)));
    SPLITD_TRY(context.out().flush());
  }
  // The text is shown before the long read; the JSON's figures are taken before it.
  std::string json =
      context.flag("json") && !verify ? make_json(inspection, path, plan, nullptr) : "";
  if (!verify) {
    context.out().write(json);
    return {};
  }
  SPLITD_ASSIGN(const VerifyReport report,
                verify_weights(*inspection.files(), 0, context.progress()));
  if (context.flag("json")) {
    context.out().write(make_json(inspection, path, plan, &report));
  } else {
    write_verify_text(report, context.out());
  }
  return verdict(report, path);
}

FlagGroup plan_flags() {
  return {
      .title = "Plan",
      .flags = {
          {.name = "plan", .help = "which layers a device has room for, and what they cost"},
          {.name = "memory", .kind = FlagKind::size, .help = "what the device has"},
          {.name = "ctx",
           .kind = FlagKind::integer,
           .help = "tokens of context; by default 4096, or the model's where that is less",
           .min = 1,
           .max = 4e9},
          {.name = "kv",
           .kind = FlagKind::choice,
           .help = "what keys and values are kept as",
           .fallback = "f16",
           .choices = "f32|f16|bf16|q8"},
          {.name = "head",
           .kind = FlagKind::integer,
           .help = "exactly so many first layers, 0 where only --tail is given",
           .min = 0,
           .max = kMaxLayers},
          {.name = "tail",
           .kind = FlagKind::integer,
           .help = "…and last layers",
           .min = 0,
           .max = kMaxLayers},
          {.name = "read-speed",
           .kind = FlagKind::size,
           .help = "bytes of memory that the device reads a second; by default as measured here"},
      }};
}

}  // namespace

Command inspect_command() {
  return {
      .name = "inspect",
      .summary = "what a model, a config or a weights file holds",
      .positionals = {{.name = "PATH",
                       .help = "a model directory, a .gguf or .safetensors file, a config.json, "
                               "or org/name that was pulled",
                       .completes = Completes::model}},
      .flags = {{.flags = {{.name = "json", .help = "one JSON object on stdout"},
                           {.name = "verify",
                            .help = "read all weights and name those that are not finite"}}},
                plan_flags()},
      .examples = {{"splitd inspect ./SmolLM2"},
                   {"splitd inspect model.gguf --json | jq .fingerprint"},
                   {"splitd inspect ./SmolLM2 --verify", "exit code 4 when a number is NaN"},
                   {"splitd inspect model.gguf --plan --memory 2G --ctx 8192"}},
      .notes =
          "Opening reads headers and norms alone. What could not be loaded is refused with "
          "the reason and exit code 4.",
      .run = run_inspect};
}

}  // namespace splitd::cli

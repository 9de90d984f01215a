// `splitd convert`: a model into a Hugging Face directory of another dtype.
#include "runtime/model/convert.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include "runtime/base/files.h"
#include "runtime/base/json.h"

#include "tools/commands.h"
#include "tools/measure/calibrator.h"
#include "tools/model_path.h"

namespace splitd::cli {
namespace {

DType dtype_of(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "q8") return DType::q8;
  if (name == "q4") return DType::q4;
  return name == "f16" ? DType::f16 : DType::bf16;
}

std::string summary(const ConvertReport& report, const std::string& directory) {
  char text[160];
  std::snprintf(text, sizeof text, "%llu tensors, %.1f MB in %u file%s",
                static_cast<unsigned long long>(report.tensors),
                static_cast<double>(report.weight_bytes) * 1e-6, report.files,
                report.files == 1 ? "" : "s");
  return printable(directory) + ": " + text + (report.tokenizer ? "" : ", no tokenizer") +
         ", fingerprint " + hex(report.fingerprint);
}

std::string percent(const QuantisationLoss& loss) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f %%", 100.0 * loss.relative_rms());
  return text;
}

void log_losses(const ConvertReport& report, const Log& log) {
  if (report.losses.empty()) return;
  for (const ConvertLoss& one : report.losses) {
    log.info(one.name + ": relative RMS error " + percent(one.loss));
  }
  char text[160];
  std::snprintf(text, sizeof text, "%llu weights quantised, %.3f bits each with their scales",
                static_cast<unsigned long long>(report.quantised_values), report.bits_per_weight());
  log.info(text);
}

Status print_json(const ConvertReport& report, Context& context) {
  JsonWriter out;
  out.begin_object().field("tensors", report.tensors).field("bytes", report.weight_bytes);
  out.field("files", report.files).field("tokenizer", report.tokenizer);
  out.field("fingerprint", std::string_view(hex(report.fingerprint)));
  out.field("resumed_bytes", report.resumed_bytes);
  if (!report.losses.empty()) {
    out.field("quantised", report.quantised_values);
    out.field("bits_per_weight", report.bits_per_weight());
    out.key("relative_rms_error").begin_object();
    for (const ConvertLoss& one : report.losses) out.field(one.name, one.loss.relative_rms());
    out.end_object();
  }
  out.end_object();
  context.out().write(out.take() + "\n");
  return context.out().flush();
}

// Fits what is quantised to a text, where that was asked for or can be had.
Result<std::unique_ptr<Calibrator>> open_calibrator(Context& context, const std::string& source,
                                                    const ConvertOptions& options) {
  const std::string& path = context.text("calibrate");
  if (!is_own_quantised(options.dtype) || path == "none") {
    return std::unique_ptr<Calibrator>();
  }
  std::string text(kCalibrationText);
  if (!path.empty()) {
    SPLITD_ASSIGN(text, read_file(path));
  }
  uint32_t last = options.layers ? options.layers->end : 0;
  if (last == 0) {
    SPLITD_ASSIGN(const ModelFiles files, ModelFiles::open(source, FileAccess::read));
    last = files.config().n_layer;
  }
  const uint32_t n_thread =
      options.threads != 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  Result<std::unique_ptr<Calibrator>> made = Calibrator::open(source, text, {0, last}, n_thread);
  if (made || !path.empty()) return made;
  context.log().warning("without calibration, which is less exact: " + made.error().message);
  return std::unique_ptr<Calibrator>();
}

Status run_convert(Context& context) {
  SPLITD_ASSIGN(const std::string source, resolve_model(context.argument("MODEL")));
  ConvertOptions options;
  options.dtype = dtype_of(context.text("dtype"));
  if (context.given("layers")) {
    const auto [begin, end] = context.range("layers");
    if (end > UINT32_MAX) return usage_error("--layers: no model has that many");
    options.layers = LayerRange{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  }
  if (context.given("threads")) {
    options.threads = static_cast<uint32_t>(context.integer("threads"));
  }
  SPLITD_ASSIGN(const std::unique_ptr<Calibrator> calibrator,
                open_calibrator(context, source, options));
  if (calibrator) {
    context.log().info("fitted to a text of " + std::to_string(calibrator->n_token()) + " tokens");
    options.feedback_id = calibrator->id();
    options.feedback = [&](const TensorSpec& spec) { return calibrator->feedback(spec); };
  }
  options.progress = context.progress();
  const std::string& directory = context.argument("DIR");
  SPLITD_ASSIGN(const ConvertReport report, convert_model(source, directory, options));
  context.end_progress();
  log_losses(report, context.log());
  context.log().info(summary(report, directory));
  return context.flag("json") ? print_json(report, context) : Status();
}

}  // namespace

Command convert_command() {
  return {
      .name = "convert",
      .summary = "a model as a Hugging Face directory in another dtype",
      .positionals = {{.name = "MODEL",
                       .help = "a .gguf file, a model directory, or org/name that was pulled",
                       .completes = Completes::model},
                      {.name = "DIR",
                       .help = "what to make; it must not exist, or be empty",
                       .completes = Completes::directory}},
      .flags = {{.flags = {{.name = "dtype",
                            .kind = FlagKind::choice,
                            .help = "what the weights become",
                            .fallback = "bf16",
                            .choices = "bf16|f16|f32|q8|q4"},
                           {.name = "layers",
                            .kind = FlagKind::range,
                            .help = "only these layers' matrices, and every norm"},
                           {.name = "calibrate",
                            .kind = FlagKind::file,
                            .metavar = "FILE|none",
                            .help = "a text to fit q8 and q4 to (has its own)"},
                           {.name = "threads",
                            .kind = FlagKind::integer,
                            .help = "that quantise; by default one a core",
                            .min = 1,
                            .max = 1024},
                           {.name = "json", .help = "what was done, as JSON on stdout"}}}},
      .examples = {{"splitd convert SmolLM2.gguf ./SmolLM2"},
                   {"splitd convert ./Llama-3.2-1B ./Llama-q4 --dtype q4"}},
      .notes =
          "Tokenizer, chat template and configuration come along. The directory appears whole or "
          "not at all; a q8 or q4 that was cut off is taken up by the same command.",
      .run = run_convert};
}

}  // namespace splitd::cli

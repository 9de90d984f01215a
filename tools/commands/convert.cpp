// `splitd convert`: a model into a Hugging Face directory of another dtype.
#include "runtime/model/convert.h"

#include <cstdio>

#include "tools/commands.h"
#include "tools/model_path.h"

namespace splitd::cli {
namespace {

DType dtype_of(const std::string& name) {
  if (name == "f32") return DType::f32;
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

Status run_convert(Context& context) {
  SPLITD_ASSIGN(const std::string source, resolve_model(context.argument("MODEL")));
  ConvertOptions options;
  options.dtype = dtype_of(context.text("dtype"));
  if (context.given("layers")) {
    const auto [begin, end] = context.range("layers");
    if (end > UINT32_MAX) return usage_error("--layers: no model has that many");
    options.layers = LayerRange{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  }
  options.progress = context.progress();
  const std::string& directory = context.argument("DIR");
  SPLITD_ASSIGN(const ConvertReport report, convert_model(source, directory, options));
  context.log().info(summary(report, directory));
  return {};
}

}  // namespace

Command convert_command() {
  return {.name = "convert",
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
                                .choices = "bf16|f16|f32"},
                               {.name = "layers",
                                .kind = FlagKind::range,
                                .help = "only these layers' matrices, and every norm"}}}},
          .examples = {{"splitd convert SmolLM2.gguf ./SmolLM2"},
                       {"splitd convert ./Llama-3.2-1B ./Llama-f32 --dtype f32"}},
          .notes =
              "Weights are dequantised and rounded to nearest even; tokenizer, chat template "
              "and configuration come along. The directory appears whole or not at all.",
          .run = run_convert};
}

}  // namespace splitd::cli

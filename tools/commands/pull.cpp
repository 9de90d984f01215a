// `splitd pull`: a model, or the part of one that this machine will run, from the hub.
#include <limits>

#include "runtime/base/json.h"
#include "runtime/model/hub/hub.h"
#include "tools/commands.h"

namespace splitd::cli {
namespace {

using Kind = PartRequest::Kind;

Result<PartRequest> part_of(const Context& context) {
  const bool layers = context.given("layers");
  const bool head = context.given("head");
  const bool tail = context.given("tail");
  const bool body = context.flag("body");
  PartRequest part;
  if (layers && (head || tail)) {
    return usage_error("--layers names the layers itself: --head and --tail do not go with it");
  }
  if (head != tail) {
    return usage_error("--head and --tail go together: how many layers at each end are run here");
  }
  if (layers) {
    const auto [begin, end] = context.range("layers");
    constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
    if (end > kMost) return usage_error("--layers: no model has that many");
    part.kind = Kind::layers;
    part.begin = static_cast<uint32_t>(begin);
    part.end = static_cast<uint32_t>(end);
    return part;
  }
  if (head) {
    part.head = static_cast<uint32_t>(context.integer("head"));
    part.tail = static_cast<uint32_t>(context.integer("tail"));
    part.kind = Kind::ends;
  }
  if (body) part.kind = Kind::body;
  return part;
}

std::string json_of(const PullResult& result, const std::string& model) {
  JsonWriter out;
  out.begin_object().field("path", result.path).field("model", model);
  out.field("commit", result.commit).field("bytes", result.bytes).field("fetched", result.fetched);
  if (result.n_layer > 0) out.field("layers", result.layers).field("n_layer", result.n_layer);
  if (!result.unhashed.empty()) {
    out.key("unhashed").begin_array();
    for (const std::string& name : result.unhashed) out.string(name);
    out.end_array();
  }
  return out.end_object().take();
}

Status run_pull(Context& context) {
  SPLITD_ASSIGN(PullOptions options, pull_options_from_environment(context.text("ca")));
  SPLITD_ASSIGN(options.part, part_of(context));
  options.model = context.argument("MODEL");
  options.directory = context.text("dir");
  options.file = context.text("file");
  options.download.connections = static_cast<unsigned>(context.integer("connections"));
  options.log = context.log();
  options.download.http.log = options.log;
  Result<PullResult> pulled = pull(options, context.progress());
  if (!pulled && pulled.error().kind == ErrorKind::interrupted) return interrupted_error();
  SPLITD_ASSIGN(const PullResult result, std::move(pulled));
  for (const std::string& name : result.unhashed) {
    options.log.warning(name + ": the hub states no hash; only its size was checked");
  }
  if (result.n_layer > 0) {
    options.log.info(
        "layers " + result.layers + " of " + std::to_string(result.n_layer) +
        ": no hash covers a part; its bytes are as the encrypted connection gave them");
  }
  if (result.was_there) options.log.info("already there");
  context.out().write(context.flag("json") ? json_of(result, options.model) : result.path);
  context.out().write("\n");
  return {};
}

}  // namespace

Command pull_command() {
  return {
      .name = "pull",
      .summary = "fetch a model, or the layers for this machine, from the hub",
      .positionals = {{.name = "MODEL", .help = "org/name or org/name@revision"}},
      .flags = {{.title = "Which part",
                 .flags = {{.name = "layers",
                            .kind = FlagKind::range,
                            .help = "layers A to B-1 alone, as a body runs them"},
                           {.name = "head",
                            .kind = FlagKind::integer,
                            .help = "the first N layers, the embedding, the head, the tokenizer",
                            .min = 0,
                            .max = 1e6},
                           {.name = "tail",
                            .kind = FlagKind::integer,
                            .help = "… and the last N layers",
                            .min = 0,
                            .max = 1e6},
                           {.name = "body",
                            .help = "all layers, no embedding, head or tokenizer; with --head and "
                                    "--tail, what those leave"},
                           {.name = "file",
                            .kind = FlagKind::text,
                            .metavar = "NAME",
                            .help = "this .gguf file of the repository instead"}}},
                {.title = "Where and how",
                 .flags = {{.name = "dir",
                            .kind = FlagKind::directory,
                            .metavar = "D",
                            .help = "a new directory instead of the cache"},
                           {.name = "connections",
                            .kind = FlagKind::integer,
                            .help = "how many files and parts of files at once",
                            .fallback = "8",
                            .min = 1,
                            .max = 64},
                           {.name = "ca",
                            .kind = FlagKind::file,
                            .help = "trust these certificate authorities (PEM), not the system's"},
                           {.name = "json", .help = "one JSON object instead of the path"}}}},
      .examples = {{"splitd pull HuggingFaceTB/SmolLM2-135M-Instruct"},
                   {"splitd pull org/name --head 2 --tail 2", "for the small device"},
                   {"splitd pull org/name --body --head 2 --tail 2", "for the machine it talks to"},
                   {"splitd pull org/name@v1.0 --dir ./model"}},
      .notes =
          "The path is printed. An interrupted pull goes on where it ended.\n"
          "HF_ENDPOINT, HF_TOKEN (or `hf auth login`), HTTPS_PROXY and SSL_CERT_FILE are "
          "honoured; SPLITD_HOME moves the cache.",
      .run = run_pull};
}

}  // namespace splitd::cli

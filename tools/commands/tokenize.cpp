// `splitd tokenize` and `splitd detokenize`: stdin → stdout, byte-exact.
#include "runtime/model/tokenizer/tokenizer.h"

#include "tools/commands.h"
#include "tools/commands/text_input.h"
#include "tools/model_path.h"

namespace splitd::cli {
namespace {

const Positional kModel = {.name = "MODEL",
                           .help =
                               "a directory with tokenizer.json, a .gguf file, or org/name "
                               "that was pulled",
                           .completes = Completes::model};

Result<Tokenizer> open_tokenizer(const Context& context) {
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  return Tokenizer::open(path);
}

Status run_tokenize(Context& context) {
  SPLITD_ASSIGN(const Tokenizer tokenizer, open_tokenizer(context));
  EncodeOptions options;
  options.add_special = !context.flag("no-special");
  options.all_literal = context.flag("literal");
  if (context.flag("batch")) {
    return answer_batch(context, [&](Json item) -> Result<std::string> {
      const std::optional<std::string_view> text = item.to_string();
      if (!text) return usage_error("a string is expected, this is " + item.describe());
      SPLITD_ASSIGN(const std::vector<uint32_t> ids, tokenizer.encode(*text, options));
      return json_ids(ids);
    });
  }
  SPLITD_ASSIGN(const std::string text, context.read_stdin());
  SPLITD_ASSIGN(const std::vector<uint32_t> ids, tokenizer.encode(text, options));
  context.out().write(json_ids(ids));
  context.out().write("\n");
  return {};
}

Status run_detokenize(Context& context) {
  SPLITD_ASSIGN(const Tokenizer tokenizer, open_tokenizer(context));
  const bool keep_special = context.flag("keep-special");
  const auto decode = [&](Json json) -> Result<std::string> {
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, parse_ids(json));
    return tokenizer.decode(ids, keep_special);
  };
  if (context.flag("batch")) {
    return answer_batch(context, [&](Json item) -> Result<std::string> {
      SPLITD_ASSIGN(const std::string text, decode(item));
      return JsonWriter().string(text).take();
    });
  }
  SPLITD_ASSIGN(const JsonDoc doc, read_stdin_json(context));
  Result<std::string> text = decode(doc.root());
  if (!text) return text.take_error().within("stdin");
  context.out().write(*text);
  return {};
}

}  // namespace

Command tokenize_command() {
  return {.name = "tokenize",
          .summary = "text on stdin → a JSON array of token ids",
          .positionals = {kModel},
          .flags = {{.flags = {{.name = "no-special",
                                .help = "without what the tokenizer adds (BOS and the like)"},
                               {.name = "literal",
                                .help = "text that spells a special token is plain text"},
                               {.name = "batch",
                                .help = "stdin is a JSON array of strings; the answer an array of "
                                        "arrays, {\"error\": …} for an item that fails"}}}},
          .examples = {{"splitd tokenize ./SmolLM2 < prompt.txt"},
                       {"splitd tokenize ./SmolLM2 --batch < texts.json"}},
          .run = run_tokenize};
}

Command detokenize_command() {
  return {.name = "detokenize",
          .summary = "a JSON array of token ids on stdin → the text, byte-exact",
          .positionals = {kModel},
          .flags = {{.flags = {{.name = "keep-special",
                                .help = "special tokens are written as they are spelt"},
                               {.name = "batch",
                                .help = "stdin is a JSON array of arrays; the answer an array of "
                                        "strings, {\"error\": …} for an item that fails"}}}},
          .examples = {{"splitd detokenize ./SmolLM2 < ids.json"}},
          .run = run_detokenize};
}

}  // namespace splitd::cli

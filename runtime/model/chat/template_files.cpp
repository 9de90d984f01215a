// Templates and special tokens of a model, as transformers 5 finds them. Tokens that only a
// tokenizer's Python class knows (its defaults) are not there: configs name what templates use.
#include "runtime/model/chat/template_files.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/model/chat/chat_template.h"
#include "runtime/model/formats/gguf.h"

namespace splitd {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{64} << 20;
constexpr size_t kMaxTemplates = 64;

// A token is a string, or an AddedToken: an object with a "content".
std::optional<std::string> token_text(Json value) {
  if (value.is_string()) return std::string(value.text());
  const std::optional<Json> content = value.find("content");
  if (content && content->is_string()) return std::string(content->text());
  return std::nullopt;
}

// Every "…_token", and extra_special_tokens where it is an object of named ones.
void read_tokens(Json config, std::map<std::string, std::string>& variables) {
  for (const Json::Member member : config.members()) {
    if (!member.key.ends_with("_token")) continue;
    if (const auto text = token_text(member.value)) variables[std::string(member.key)] = *text;
  }
  const std::optional<Json> extra = config.find("extra_special_tokens");
  if (!extra) return;
  for (const Json::Member member : extra->members()) {
    if (const auto text = token_text(member.value)) variables[std::string(member.key)] = *text;
  }
}

Status read_named_templates(Json list, const std::string& path, TemplateFiles& out) {
  for (const Json entry : list.elements()) {
    const std::optional<Json> name = entry.find("name");
    const std::optional<Json> text = entry.find("template");
    if (!name || !name->is_string() || !text || !text->is_string()) {
      return model_error(path + ": chat_template: " + entry.describe() +
                         " is not an object with the strings \"name\" and \"template\"");
    }
    out.templates[std::string(name->text())] = std::string(text->text());
  }
  return {};
}

Status read_config_template(Json config, const std::string& path, TemplateFiles& out) {
  const std::optional<Json> text = config.find("chat_template");
  if (!text || text->is_null()) return {};
  if (text->is_string()) {
    out.templates["default"] = std::string(text->text());
    return {};
  }
  if (text->is_array()) return read_named_templates(*text, path, out);
  return model_error(path + ": chat_template is " + text->describe() +
                     "; a string or an array of named templates is wanted");
}

Result<JsonDoc> read_json(const std::string& path) {
  SPLITD_ASSIGN(std::string text, read_file(path, kMaxConfigBytes));
  Result<JsonDoc> doc = JsonDoc::parse(std::move(text));
  if (!doc) return std::move(doc).take_error().within(path);
  if (!doc->root().is_object()) {
    return model_error(path + ": an object is wanted, not " + doc->root().describe());
  }
  return doc;
}

Status read_jinja_files(const std::string& directory, TemplateFiles& out) {
  const std::string main = directory + "/chat_template.jinja";
  if (path_exists(main)) {
    SPLITD_ASSIGN(out.templates["default"], read_file(main, ChatTemplate::kMaxSourceBytes));
  }
  const std::string more = directory + "/additional_chat_templates";
  std::error_code error;
  for (std::filesystem::directory_iterator it(more, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".jinja") continue;
    if (out.templates.size() >= kMaxTemplates) {
      return model_error(more + ": more than " + std::to_string(kMaxTemplates) + " templates");
    }
    SPLITD_ASSIGN(out.templates[it->path().stem().string()],
                  read_file(it->path().string(), ChatTemplate::kMaxSourceBytes));
  }
  return {};
}

Result<TemplateFiles> read_directory(const std::string& directory) {
  TemplateFiles out;
  SPLITD_TRY(read_jinja_files(directory, out));
  const std::string config_path = directory + "/tokenizer_config.json";
  bool lists_added_tokens = false;
  if (path_exists(config_path)) {
    SPLITD_ASSIGN(const JsonDoc config, read_json(config_path));
    read_tokens(config.root(), out.variables);
    lists_added_tokens = config.root().find("added_tokens_decoder").has_value();
    if (out.templates.empty()) SPLITD_TRY(read_config_template(config.root(), config_path, out));
  }
  // Older models name their tokens here; a config that lists its added tokens replaces it.
  const std::string map_path = directory + "/special_tokens_map.json";
  if (!lists_added_tokens && path_exists(map_path)) {
    SPLITD_ASSIGN(const JsonDoc map, read_json(map_path));
    read_tokens(map.root(), out.variables);
  }
  const std::string legacy_path = directory + "/chat_template.json";
  if (out.templates.empty() && path_exists(legacy_path)) {
    SPLITD_ASSIGN(const JsonDoc legacy, read_json(legacy_path));
    SPLITD_TRY(read_config_template(legacy.root(), legacy_path, out));
  }
  if (out.templates.empty()) {
    return model_error(directory +
                       ": no chat template: neither chat_template.jinja nor \"chat_template\" in "
                       "tokenizer_config.json is there. --raw continues a prompt as it stands");
  }
  return out;
}

void read_gguf_tokens(const Gguf& gguf, std::map<std::string, std::string>& variables) {
  struct Name {
    std::string_view key;
    std::string_view variable;
  };
  static constexpr Name kNames[] = {
      {"tokenizer.ggml.bos_token_id", "bos_token"},
      {"tokenizer.ggml.eos_token_id", "eos_token"},
      {"tokenizer.ggml.unknown_token_id", "unk_token"},
      {"tokenizer.ggml.seperator_token_id", "sep_token"},  // as GGUF spells it
      {"tokenizer.ggml.padding_token_id", "pad_token"},
      {"tokenizer.ggml.cls_token_id", "cls_token"},
      {"tokenizer.ggml.mask_token_id", "mask_token"},
  };
  const Result<std::vector<std::string_view>> tokens = gguf.strings("tokenizer.ggml.tokens");
  if (!tokens) return;
  for (const Name& name : kNames) {
    const Result<uint64_t> id = gguf.u64(name.key);
    if (id.ok() && *id < tokens->size()) {
      variables[std::string(name.variable)] = std::string((*tokens)[static_cast<size_t>(*id)]);
    }
  }
}

Result<TemplateFiles> read_gguf(const std::string& path) {
  SPLITD_ASSIGN(const Gguf gguf, Gguf::open(path, FileAccess::read));
  constexpr std::string_view kKey = "tokenizer.chat_template";
  TemplateFiles out;
  for (const GgufHeader::Entry& entry : gguf.metadata()) {
    if (!entry.key.starts_with(kKey)) continue;
    std::string_view name = entry.key.substr(kKey.size());
    if (name.empty()) {
      name = "default";
    } else if (name[0] == '.') {
      name.remove_prefix(1);
    } else {
      continue;  // tokenizer.chat_templates, the list of names
    }
    if (out.templates.size() >= kMaxTemplates) {
      return model_error(path + ": more than " + std::to_string(kMaxTemplates) + " chat templates");
    }
    const Result<std::string_view> text = gguf.string(entry.key);
    if (!text) return Result(text).take_error().within(path);
    out.templates[std::string(name)] = std::string(*text);
  }
  if (out.templates.empty()) {
    return model_error(path + ": no chat template: the metadata has no " + std::string(kKey) +
                       ". --raw continues a prompt as it stands");
  }
  read_gguf_tokens(gguf, out.variables);
  return out;
}

}  // namespace

Result<TemplateFiles> read_template_files(const std::string& path) {
  if (is_directory(path)) return read_directory(path);
  if (path.ends_with(".gguf")) return read_gguf(path);
  if (!path_exists(path)) return model_error(path + ": no such file or directory");
  return model_error(path + ": a model directory or a .gguf file is wanted");
}

}  // namespace splitd

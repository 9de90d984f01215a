#include "runtime/model/convert_text.h"

#include <filesystem>

#include "runtime/base/files.h"
#include "runtime/base/utf8.h"
#include "runtime/model/config_write.h"
#include "runtime/model/formats/quantised.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"

namespace splitd {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;

std::optional<uint32_t> token_id(const Gguf& gguf, std::string_view which) {
  const std::optional<GgufValue> value =
      gguf.find("tokenizer.ggml." + std::string(which) + "_token_id");
  const std::optional<uint64_t> id = value ? value->to_u64() : std::nullopt;
  if (!id || *id >= kMaxVocab) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

// The template of the model, or the list of named ones with the default among them.
void write_templates(JsonWriter& out, const Gguf& gguf) {
  constexpr std::string_view kPrefix = "tokenizer.chat_template";
  std::vector<std::pair<std::string_view, std::string_view>> named;
  for (const GgufHeader::Entry& entry : gguf.metadata()) {
    if (!entry.key.starts_with(kPrefix)) continue;
    const std::optional<std::string_view> text = entry.value.to_string();
    if (!text) continue;
    const std::string_view rest = entry.key.substr(kPrefix.size());
    if (rest.empty()) named.emplace_back("default", *text);
    if (rest.size() > 1 && rest[0] == '.') named.emplace_back(rest.substr(1), *text);
  }
  if (named.empty()) return;
  out.key("chat_template");
  if (named.size() == 1 && named.front().first == "default") {
    out.string(named.front().second);
    return;
  }
  out.begin_array();
  for (const auto& [name, text] : named) {
    out.begin_object().field("name", name).field("template", text).end_object();
  }
  out.end_array();
}

std::string make_tokenizer_config(const Gguf& gguf, const ModelConfig& config) {
  JsonWriter out(2);
  out.begin_object().field("tokenizer_class", "PreTrainedTokenizerFast");
  for (const auto& [name, key] :
       {std::pair("add_bos_token", "tokenizer.ggml.add_bos_token"),
        std::pair("add_eos_token", "tokenizer.ggml.add_eos_token"),
        std::pair("add_prefix_space", "tokenizer.ggml.add_space_prefix")}) {
    const std::optional<GgufValue> value = gguf.find(key);
    const std::optional<bool> flag = value ? value->to_bool() : std::nullopt;
    if (flag) out.field(name, *flag);
  }
  out.field("clean_up_tokenization_spaces", false);
  out.field("model_max_length", config.n_ctx);
  // Only the few special tokens are looked up: the list itself is not copied.
  const std::optional<GgufValue> tokens = gguf.find("tokenizer.ggml.tokens");
  for (const auto& [name, which] :
       {std::pair("bos_token", "bos"), std::pair("eos_token", "eos"),
        std::pair("pad_token", "padding"), std::pair("unk_token", "unknown")}) {
    const std::optional<uint32_t> id = token_id(gguf, which);
    if (!id || !tokens || tokens->element_type() != GgufType::string || *id >= tokens->size()) {
      continue;
    }
    auto at = tokens->elements().begin();
    for (uint32_t i = 0; i < *id; ++i) ++at;
    out.field(name, *(*at).to_string());
  }
  write_templates(out, gguf);
  out.end_object();
  return out.take() + "\n";
}

// The config of the GGUF as config.json, provided that it says the same when read back.
Result<std::string> make_config(const ModelFiles& model, DType dtype) {
  const bool quantised = is_own_quantised(dtype);
  // What is not quantised stays what it was.
  const DType rest = quantised ? model.config().dtype.value_or(DType::f32) : dtype;
  std::string text = write_config_json(model.config(), rest, token_id(*model.gguf(), "padding"));
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(text));
  SPLITD_ASSIGN(ModelConfig again, parse_config(doc.root()));
  again.embed_scale = model.config().embed_scale;  // rounded to the new dtype, as it has to be
  if (canonical_config(again) == canonical_config(model.config())) {
    return quantised ? replace_config_dtype(doc.root(), dtype) + "\n" : text;
  }
  return model_error(model.path() +
                     ": config.json has no words for this combination of features "
                     "in a model of the family " +
                     model.config().family);
}

Result<bool> write_gguf_texts(const ModelFiles& model, DType dtype, const std::string& directory) {
  const Gguf& gguf = *model.gguf();
  const std::optional<uint32_t> pad = token_id(gguf, "padding");
  SPLITD_ASSIGN(const std::string config, make_config(model, dtype));
  SPLITD_TRY(write_file(directory + "/config.json", config));
  SPLITD_TRY(write_file(directory + "/generation_config.json",
                        write_generation_config_json(model.config(), pad)));
  if (model.tokenizer_path().empty()) return false;
  Result<std::string> tokenizer = tokenizer_json_from_gguf(gguf);
  if (!tokenizer) return tokenizer.take_error().within(model.path());
  SPLITD_TRY(write_file(directory + "/tokenizer.json", *tokenizer));
  SPLITD_TRY(write_file(directory + "/tokenizer_config.json",
                        make_tokenizer_config(gguf, model.config())));
  return true;
}

// What belongs to a model besides weights and config.json: all text, no other formats of weights.
bool is_companion(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const std::string extension = path.extension().string();
  if (name.starts_with(".") || name == "config.json" || name.ends_with(".index.json")) return false;
  if (name.starts_with("LICENSE") || name.starts_with("NOTICE")) return true;
  return extension == ".json" || extension == ".jinja" || extension == ".model" ||
         extension == ".txt" || extension == ".md";
}

Result<bool> copy_directory_texts(const ModelFiles& model, DType dtype,
                                  const std::string& directory) {
  SPLITD_ASSIGN(std::string text, read_file(model.path() + "/config.json", kMaxConfigBytes));
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(std::move(text)));
  SPLITD_TRY(
      write_file(directory + "/config.json", replace_config_dtype(doc.root(), dtype) + "\n"));
  std::error_code code;
  std::filesystem::directory_iterator entries(model.path(), code);
  if (code) return failed("cannot list " + model.path() + ": " + code.message());
  for (; entries != std::filesystem::directory_iterator(); entries.increment(code)) {
    if (!entries->is_regular_file(code) || !is_companion(entries->path())) continue;
    SPLITD_ASSIGN(const std::string content, read_file(entries->path().string(), kMaxTextBytes));
    SPLITD_TRY(write_file(directory + "/" + entries->path().filename().string(), content));
    if (code) return failed("cannot list " + model.path() + ": " + code.message());
  }
  return !model.tokenizer_path().empty();
}

}  // namespace

Result<bool> write_model_texts(const ModelFiles& model, DType dtype, const std::string& directory) {
  if (model.gguf() != nullptr) return write_gguf_texts(model, dtype, directory);
  return copy_directory_texts(model, dtype, directory);
}

}  // namespace splitd

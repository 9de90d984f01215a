#include "runtime/model/hub/repo_info.h"

#include <algorithm>

#include "runtime/base/json.h"
#include "runtime/model/hub/pulled.h"

namespace splitd {
namespace {

// More than any model's list of shards; a repository may be larger, but not without end.
constexpr size_t kMaxFiles = 100'000;

bool is_hex(std::string_view text, size_t length) {
  return text.size() == length && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Error bad(std::string_view field, const std::optional<Json>& value, std::string_view accepted) {
  return peer_error("the hub's answer: " + std::string(field) + " is " +
                    (value ? value->describe() : "missing") + ", expected " +
                    std::string(accepted));
}

Result<RepoFile> parse_file(Json item) {
  RepoFile file;
  const std::optional<Json> name = item.find("rfilename");
  if (!name || !name->is_string()) return bad("rfilename", name, "a string");
  file.name = name->text();
  if (const std::optional<Json> size = item.find("size"); size && !size->is_null()) {
    file.size = size->to_u64();
    if (!file.size) return bad("size", size, "a number of bytes");
  }
  const std::optional<Json> lfs = item.find("lfs");
  if (lfs && lfs->is_object()) {
    const std::optional<Json> sha256 = lfs->find("sha256");
    if (!sha256 || !is_hex(sha256->text(), 64)) return bad("lfs.sha256", sha256, "64 hex digits");
    file.sha256 = sha256->text();
    if (const std::optional<Json> size = lfs->find("size"); size) {
      const std::optional<uint64_t> bytes = size->to_u64();
      if (!bytes || (file.size && file.size != bytes)) return bad("lfs.size", size, "the size");
      file.size = bytes;
    }
    return file;
  }
  if (const std::optional<Json> blob = item.find("blobId"); blob && !blob->is_null()) {
    if (!is_hex(blob->text(), 40)) return bad("blobId", blob, "40 hex digits");
    file.git_sha1 = blob->text();
  }
  return file;
}

// "a, b, c and 17 more"
std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 5; ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > 5) out += " and " + std::to_string(names.size() - 5) + " more";
  return out;
}

Error no_safetensors(const RepoInfo& info) {
  std::vector<std::string> gguf;
  std::vector<std::string> other;
  for (const RepoFile& file : info.files) {
    if (!is_plain_file_name(file.name)) continue;
    if (file.name.ends_with(".gguf")) gguf.push_back(file.name);
    if (file.name.ends_with(".safetensors") || file.name.ends_with(".bin") ||
        file.name.ends_with(".pt") || file.name.ends_with(".pth")) {
      other.push_back(file.name);
    }
  }
  if (!gguf.empty()) {
    return usage_error("no model.safetensors there, but GGUF files; name one with --file: " +
                       some_of(gguf));
  }
  std::string message = "neither model.safetensors nor model.safetensors.index.json there";
  if (!other.empty()) message += "; not usable: " + some_of(other);
  return model_error(std::move(message));
}

}  // namespace

const RepoFile* RepoInfo::find(std::string_view name) const {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const RepoFile& file) { return file.name == name; });
  return found == files.end() ? nullptr : &*found;
}

bool is_plain_file_name(std::string_view name) {
  if (name.empty() || name.size() > 200 || name.front() == '.' || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

Result<RepoInfo> parse_repo_info(std::string_view json) {
  JsonLimits limits;
  limits.max_bytes = kMaxRepoInfoBytes;
  Result<JsonDoc> doc = JsonDoc::parse_view(json, limits);
  if (!doc) return peer_error("the hub's answer is not JSON: " + doc.error().message);
  const Json root = doc->root();
  RepoInfo info;
  const std::optional<Json> sha = root.find("sha");
  if (!sha || !is_commit(sha->text())) return bad("sha", sha, "a commit");
  info.commit = sha->text();
  const std::optional<Json> siblings = root.find("siblings");
  if (!siblings || !siblings->is_array()) return bad("siblings", siblings, "an array");
  if (siblings->size() > kMaxFiles) {
    return bad("siblings", siblings, "at most " + std::to_string(kMaxFiles) + " files");
  }
  std::vector<std::string_view> names;
  for (const Json item : siblings->elements()) {
    SPLITD_ASSIGN(RepoFile file, parse_file(item));
    info.files.push_back(std::move(file));
  }
  for (const RepoFile& file : info.files) names.push_back(file.name);
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(names.begin(), names.end()) != names.end()) {
    return peer_error("the hub's answer names a file twice");
  }
  return info;
}

Result<ModelFileNames> choose_model_files(const RepoInfo& info) {
  ModelFileNames out;
  const auto add = [&](std::vector<std::string>& list, const char* name) {
    if (info.find(name) != nullptr) list.emplace_back(name);
  };
  add(out.config, "config.json");
  const bool has_config = !out.config.empty();
  add(out.config, "generation_config.json");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "chat_template.jinja", "chat_template.json"}) {
    add(out.tokenizer, name);
  }
  // As transformers: one file before shards. Everything else (consolidated.*, adapters, variants)
  // holds the same weights under other names, or other weights.
  if (info.find("model.safetensors") != nullptr) {
    out.weights = "model.safetensors";
  } else if (info.find("model.safetensors.index.json") != nullptr) {
    out.index = "model.safetensors.index.json";
  } else {
    return no_safetensors(info);
  }
  if (!has_config) return model_error("no config.json there");
  return out;
}

}  // namespace splitd

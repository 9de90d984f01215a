#include "tools/commands/text_input.h"

#include <charconv>
#include <limits>

namespace splitd::cli {

Result<JsonDoc> read_stdin_json(Context& context) {
  SPLITD_ASSIGN(std::string text, context.read_stdin(kMaxStdinJsonBytes));
  Result<JsonDoc> doc = JsonDoc::parse(std::move(text), {.max_bytes = kMaxStdinJsonBytes});
  if (!doc) return usage_error("stdin: " + doc.error().message);
  return doc;
}

Status answer_batch(Context& context, const std::function<Result<std::string>(Json item)>& answer) {
  SPLITD_ASSIGN(const JsonDoc doc, read_stdin_json(context));
  if (!doc.root().is_array()) {
    return usage_error("stdin: with --batch an array is expected, this is " +
                       doc.root().describe());
  }
  Output& out = context.out();
  std::string_view separator = "[";
  for (const Json item : doc.root().elements()) {
    if (!out.ok()) break;  // reported at the end
    out.write(separator);
    separator = ",\n";
    const Result<std::string> json = answer(item);
    out.write(
        json.ok()
            ? *json
            : JsonWriter().begin_object().field("error", json.error().message).end_object().take());
  }
  out.write(doc.root().size() == 0 ? "[]\n" : "]\n");
  return {};
}

std::string json_ids(const std::vector<uint32_t>& ids) {
  std::string json = "[";
  json.reserve(ids.size() * 6 + 2);
  char digits[std::numeric_limits<uint32_t>::digits10 + 1];
  for (const uint32_t id : ids) {
    if (json.size() > 1) json += ',';
    json.append(digits, std::to_chars(digits, digits + sizeof digits, id).ptr);
  }
  return json += ']';
}

Result<std::vector<uint32_t>> parse_ids(Json json) {
  if (!json.is_array()) {
    return usage_error("an array of token ids is expected, this is " + json.describe());
  }
  std::vector<uint32_t> ids;
  ids.reserve(json.size());
  for (const Json item : json.elements()) {
    const std::optional<uint64_t> id = item.to_u64();
    if (!id || *id > std::numeric_limits<uint32_t>::max()) {
      return usage_error("item " + std::to_string(ids.size()) + " is " + item.describe() +
                         ", a token id is an integer from 0 to 4294967295");
    }
    ids.push_back(static_cast<uint32_t>(*id));
  }
  return ids;
}

}  // namespace splitd::cli

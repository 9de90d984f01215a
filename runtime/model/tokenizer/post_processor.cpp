#include "runtime/model/tokenizer/post_processor.h"

#include "runtime/model/tokenizer/json_fields.h"

namespace splitd::tok {
namespace {

constexpr size_t kMaxTemplateIds = 1024;

Result<uint32_t> id_of(std::optional<Json> value, std::string_view name) {
  const std::optional<uint64_t> id = value ? value->to_u64() : std::nullopt;
  if (!id || *id > UINT32_MAX) return bad_field(name, value, "a token id");
  return static_cast<uint32_t>(*id);
}

}  // namespace

// {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": …}
Status PostProcessor::parse_template(Json json) {
  const std::optional<Json> single = json.find("single");
  const std::optional<Json> specials = json.find("special_tokens");
  if (!single || !single->is_array()) return bad_field("single", single, "an array");
  std::vector<Part> parts;
  size_t count = 0;
  for (const Json item : single->elements()) {
    Part part;
    const std::optional<Json> special = item.find("SpecialToken");
    const std::optional<Json> sequence = item.find("Sequence");
    if (sequence && sequence->find("id") && sequence->find("id")->text() == "A") {
      part.is_text = true;
    } else if (special && special->find("id")) {
      const std::string name(special->find("id")->text());
      const std::optional<Json> entry = specials ? specials->find(name) : std::nullopt;
      const std::optional<Json> ids = entry ? entry->find("ids") : std::nullopt;
      if (!ids || !ids->is_array()) {
        return model_error("\"special_tokens\" has no ids for " + special->find("id")->describe());
      }
      for (const Json id : ids->elements()) {
        SPLITD_ASSIGN(const uint32_t value, id_of(id, "ids"));
        part.ids.push_back(value);
      }
    } else {
      return bad_field("single", item, "a list of {\"SpecialToken\"} and {\"Sequence\": A}");
    }
    count += part.ids.size() + 1;
    if (count > kMaxTemplateIds) return model_error("\"single\" is too long");
    parts.push_back(std::move(part));
  }
  parts_ = std::move(parts);
  return {};
}

// Bert and Roberta: "cls" and "sep", each [text, id].
Status PostProcessor::parse_pair(Json json) {
  const auto read = [&](std::string_view name) -> Result<uint32_t> {
    const std::optional<Json> pair = json.find(name);
    if (!pair || !pair->is_array() || pair->size() != 2) {
      return bad_field(name, pair, "[token, id]");
    }
    auto at = pair->elements().begin();
    return id_of(*++at, name);
  };
  SPLITD_ASSIGN(const uint32_t first, read("cls"));
  SPLITD_ASSIGN(const uint32_t last, read("sep"));
  parts_ = {{false, {first}}, {true, {}}, {false, {last}}};
  return {};
}

Result<PostProcessor> PostProcessor::parse(std::optional<Json> json, uint32_t end_id) {
  PostProcessor result;
  if (!json || json->is_null()) return result;
  size_t count = 0;
  bool has_template = false;
  SPLITD_TRY(for_each_step(*json, "processors", count, [&](std::string_view type, Json step) {
    if (type == "ByteLevel") return Status();  // moves offsets, which nobody asks for
    if (has_template) return Status(model_error("only one step may add tokens"));
    has_template = true;
    if (type == "TemplateProcessing") return result.parse_template(step);
    if (type == "BertProcessing" || type == "RobertaProcessing") return result.parse_pair(step);
    return Status(
        model_error("not supported; Sequence, TemplateProcessing, ByteLevel, BertProcessing and "
                    "RobertaProcessing are supported"));
  }));
  for (const Part& part : result.parts_) {
    for (const uint32_t id : part.ids) {
      if (id >= end_id) {
        return model_error("adds the id " + std::to_string(id) + "; the vocabulary ends at " +
                           std::to_string(end_id));
      }
    }
  }
  return result;
}

std::vector<uint32_t> PostProcessor::apply(std::vector<uint32_t> ids, bool add_special) const {
  if (parts_.size() == 1 && parts_[0].is_text) return ids;
  std::vector<uint32_t> result;
  result.reserve(ids.size() + parts_.size());
  for (const Part& part : parts_) {
    if (part.is_text) {
      result.insert(result.end(), ids.begin(), ids.end());
    } else if (add_special) {
      result.insert(result.end(), part.ids.begin(), part.ids.end());
    }
  }
  return result;
}

std::vector<uint32_t> PostProcessor::before() const {
  std::vector<uint32_t> out;
  for (const Part& part : parts_) {
    if (part.is_text) break;
    out.insert(out.end(), part.ids.begin(), part.ids.end());
  }
  return out;
}

}  // namespace splitd::tok

// From a JSON request to the template's variables.
#include "runtime/model/chat/chat_input.h"

#include <array>
#include <cmath>
#include <limits>

#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::string_view kReasoningFields[] = {"reasoning_content", "thinking", "reasoning"};

// Bytes of a Json live as long as the input does: longer than the rendering.
const Text* input_text(Interpreter& in, std::string_view bytes) {
  return text_view(in.arena(), bytes, Taint::yes);
}

Value from_number(Json number) {
  if (number.is_integer()) return Value::of(parse_int(number.text()).value_or(0));
  const std::optional<double> real = number.to_f64();
  const double infinity = std::numeric_limits<double>::infinity();
  return Value::of(real ? *real : number.text()[0] == '-' ? -infinity : infinity);
}

Value from_json(Interpreter& in, Json json);

Dict* from_object(Interpreter& in, Json object, bool drop_nulls) {
  Dict* const dict = new_dict(in, object.size());
  for (const Json::Member member : object.members()) {
    if (drop_nulls && member.value.is_null()) continue;
    dict_set(in, *dict, Value::of(input_text(in, member.key)), from_json(in, member.value));
  }
  return dict;
}

Value from_json(Interpreter& in, Json json) {
  const Interpreter::Deeper deeper(in);
  in.step();
  switch (json.kind()) {
    case JsonKind::null:
      return Value::none();
    case JsonKind::boolean:
      return Value::of(json.to_bool().value_or(false));
    case JsonKind::number:
      return from_number(json);
    case JsonKind::string:
      return Value::of(input_text(in, json.text()));
    case JsonKind::object:
      return Value::of(static_cast<const Dict*>(from_object(in, json, false)));
    case JsonKind::array:
      break;
  }
  std::vector<Value> items;
  items.reserve(json.size());
  for (const Json item : json.elements()) items.push_back(from_json(in, item));
  return new_list(in, items);
}

const Value* field(Interpreter& in, const Dict& message, std::string_view name) {
  const Value* const found = dict_find(in, message, name);
  return found == nullptr || found->is_none() ? nullptr : found;
}

Value key(Interpreter& in, std::string_view name) {
  return new_string(in, name);
}

// Fills `reasoning_content` from its older names, and `thinking`, which gpt-oss reads.
Dict* alias_reasoning(Interpreter& in, Dict* message) {
  const Value* reasoning = nullptr;
  for (const std::string_view name : kReasoningFields) {
    if (reasoning == nullptr) reasoning = field(in, *message, name);
  }
  if (reasoning == nullptr) return message;
  const Value text = *reasoning;
  Dict* const aliased = new_dict(in, message->size + size_t{2});
  dict_set(in, *aliased, key(in, "thinking"), text);
  for (uint32_t i = 0; i < message->size; ++i) {
    dict_set(in, *aliased, message->entries[i].key, message->entries[i].value);
  }
  dict_set(in, *aliased, key(in, "reasoning_content"), text);
  return aliased;
}

const Text* with_tag(Interpreter& in, const Value& value) {
  if (!value.is_string()) {
    fail("continue_final_message is set but what it should continue is of type " +
         quoted(type_name(value)) + ", not a string");
  }
  return text_concat(in.arena(), *value.text, *text_view(in.arena(), kContinueTag, Taint::yes));
}

// The last block of the content that has a text gets the tag; the text it had is returned.
const Text* tag_content_blocks(Interpreter& in, Dict& message, std::string_view name,
                               const Value& content) {
  std::vector<Value> blocks(content.items().begin(), content.items().end());
  for (size_t i = blocks.size(); i-- > 0;) {
    if (!blocks[i].is(Kind::dict)) continue;
    const Value* const text = dict_find(in, *blocks[i].dict, "text");
    if (text == nullptr) continue;
    const Text* const continued = with_tag(in, *text);
    const Text* const before = text->text;
    Dict* const copy = new_dict(in, blocks[i].dict->size);
    for (uint32_t j = 0; j < blocks[i].dict->size; ++j) {
      dict_set(in, *copy, blocks[i].dict->entries[j].key, blocks[i].dict->entries[j].value);
    }
    dict_set(in, *copy, key(in, "text"), Value::of(continued));
    blocks[i] = Value::of(static_cast<const Dict*>(copy));
    dict_set(in, message, key(in, name), new_list(in, blocks));
    return before;
  }
  fail(
      "continue_final_message is set but we could not find any text to continue in the final "
      "message");
}

// Marks the end of the final message, so that it can be found in the rendered text.
const Text* tag_final_message(Interpreter& in, Dict& message, std::string_view name,
                              std::string_view source) {
  const Value* const found = field(in, message, name);
  if (found == nullptr) {
    fail("continue_final_message is set but the final message has no " + quoted(name) +
         " to continue");
  }
  const Value content = *found;
  std::vector<std::string_view> fields{name};
  if (std::find(std::begin(kReasoningFields), std::end(kReasoningFields), name) !=
      std::end(kReasoningFields)) {
    fields.clear();
    for (const std::string_view other : kReasoningFields) {
      const Value* const same = field(in, message, other);
      if (same != nullptr && equals(in, *same, content)) fields.push_back(other);
    }
  }
  const bool accepted = std::any_of(fields.begin(), fields.end(), [&](std::string_view f) {
    return source.find(f) != std::string_view::npos;
  });
  if (!accepted) {
    fail("continue_final_message is set to " + quoted(name) +
         " but this is not an accepted field in the chat template");
  }
  if (content.is(Kind::list)) return tag_content_blocks(in, message, name, content);
  for (const std::string_view f : fields) {
    dict_set(in, message, key(in, f), Value::of(with_tag(in, content)));
  }
  return content.text;
}

void check_objects(Json list, std::string_view name) {
  const std::string what = "\"" + std::string(name) + "\"";
  if (!list.is_array()) fail(what + " is " + list.describe() + "; an array of objects is wanted");
  for (const Json item : list.elements()) {
    if (!item.is_object()) fail(what + " has " + item.describe() + " in it; objects are wanted");
  }
}

Value read_objects(Interpreter& in, Json input, std::string_view name) {
  const std::optional<Json> list = input.find(name);
  if (!list || list->is_null()) return Value::none();
  check_objects(*list, name);
  return from_json(in, *list);
}

std::string_view continued_field(Json input) {
  const std::optional<Json> wanted = input.find("continue_final_message");
  if (!wanted || wanted->is_null()) return {};
  if (wanted->is_string()) return wanted->text();
  if (!wanted->is_bool()) {
    fail("\"continue_final_message\" is " + wanted->describe() +
         "; a boolean or a field's name is wanted");
  }
  return *wanted->to_bool() ? "content" : "";
}

}  // namespace

ChatRequest read_chat_input(Interpreter& in, Json input, const RenderOptions& options,
                            std::string_view source,
                            const std::map<std::string, std::string>& variables) {
  ChatRequest request;
  Dict& context = in.context();
  if (!input.is_object()) fail("the input is " + input.describe() + "; an object is wanted");
  const std::optional<Json> messages = input.find("messages");
  if (!messages) {
    for (const Json::Member member : input.members()) {
      dict_set(in, context, key(in, member.key), from_json(in, member.value));
    }
    return request;
  }
  check_objects(*messages, "messages");
  if (messages->size() == 0) fail("\"messages\" is empty: at least one message is wanted");

  std::vector<Dict*> chat;
  for (const Json message : messages->elements()) {
    chat.push_back(alias_reasoning(in, from_object(in, message, !options.keep_nulls)));
  }
  const std::string_view continued = continued_field(input);
  if (!continued.empty()) {
    const std::optional<Json> prompt = input.find("add_generation_prompt");
    if (prompt && is_true(from_json(in, *prompt))) {
      fail("continue_final_message and add_generation_prompt exclude each other");
    }
    request.continued = tag_final_message(in, *chat.back(), continued, source);
  }
  std::vector<Value> items;
  for (const Dict* const message : chat) items.push_back(Value::of(message));

  for (const auto& [name, value] : variables) {
    dict_set(in, context, key(in, name), Value::of(text_view(in.arena(), value, Taint::no)));
  }
  dict_set(in, context, key(in, "add_generation_prompt"), Value::of(false));
  for (const Json::Member member : input.members()) {
    if (member.key == "continue_final_message" || member.key == "messages" ||
        member.key == "tools" || member.key == "documents") {
      continue;
    }
    dict_set(in, context, key(in, member.key), from_json(in, member.value));
  }
  dict_set(in, context, key(in, "messages"), new_list(in, items));
  dict_set(in, context, key(in, "tools"), read_objects(in, input, "tools"));
  dict_set(in, context, key(in, "documents"), read_objects(in, input, "documents"));
  return request;
}

static std::string_view stripped(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(trailing_space(text));
  return text;
}

void finish_chat_text(const ChatRequest& request, MarkedText& out) {
  if (request.continued == nullptr) return;
  const std::string_view tag = stripped(kContinueTag);
  const size_t at = out.text.rfind(tag);
  if (at == std::string::npos ||
      find_bytes(out.text, stripped(request.continued->view())) == std::string_view::npos) {
    fail(
        "continue_final_message is set but the final message does not appear in the text that the "
        "template rendered: the template drops or changes parts of it");
  }
  // Where the template trimmed the message, the space before the tag is not the message's end.
  const bool exact = out.text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  const std::string_view before = std::string_view(out.text).substr(0, at);
  out.text.resize(exact ? at : at - trailing_space(before));
  while (!out.literal.empty() && out.literal.back().begin >= out.text.size())
    out.literal.pop_back();
  if (!out.literal.empty())
    out.literal.back().end = std::min(out.literal.back().end, out.text.size());
}

}  // namespace splitd::jinja

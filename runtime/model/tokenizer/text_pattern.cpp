#include "runtime/model/tokenizer/text_pattern.h"

namespace splitd::tok {

Result<TextPattern> TextPattern::parse(std::optional<Json> json) {
  if (!json) return model_error("\"pattern\" is missing");
  const std::optional<Json> string = json->find("String");
  const std::optional<Json> expression = json->find("Regex");
  if (string && string->is_string()) {
    // The library makes a pattern of an empty string, which matches between all characters.
    if (string->text().empty()) return regex("");
    return plain(std::string(string->text()));
  }
  if (expression && expression->is_string()) return regex(expression->text());
  return model_error("\"pattern\" is " + json->describe() +
                     "; {\"String\": …} or {\"Regex\": …} is accepted");
}

Result<TextPattern> TextPattern::regex(std::string_view pattern) {
  SPLITD_ASSIGN(SplitRegex compiled, SplitRegex::compile(pattern));
  return TextPattern({}, std::move(compiled));
}

Status TextPattern::find_all(std::string_view text, RegexScratch& scratch,
                             std::vector<Match>& matches) const {
  if (regex_) return regex_->find_all(text, scratch, matches);
  matches.clear();
  for (size_t at = text.find(text_); at != std::string_view::npos;) {
    matches.push_back({at, at + text_.size()});
    at = text.find(text_, at + text_.size());
  }
  return {};
}

}  // namespace splitd::tok

#include "net/http_fields.h"

#include "net/text.h"

namespace splitd::net {

std::optional<std::string_view> HttpFields::find(std::string_view name) const {
  for (const HttpField& field : fields_) {
    if (equal_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

size_t HttpFields::count(std::string_view name) const {
  size_t count = 0;
  for (const HttpField& field : fields_) count += equal_ignoring_case(field.name, name) ? 1 : 0;
  return count;
}

bool HttpFields::lists(std::string_view name, std::string_view member) const {
  for (const HttpField& field : fields_) {
    if (!equal_ignoring_case(field.name, name)) continue;
    std::string_view rest = field.value;
    while (true) {
      const size_t comma = rest.find(',');
      if (equal_ignoring_case(trim_blanks(rest.substr(0, comma)), member)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

bool is_http_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!alnum && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

bool is_field_value(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return false;
  }
  return true;
}

std::string_view trim_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

Result<HttpField> parse_field(std::string_view line) {
  if (!line.empty() && (line.front() == ' ' || line.front() == '\t')) {
    return peer_error("HTTP field folded over two lines: " + quoted(line));
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    return peer_error("HTTP field without a colon: " + quoted(line));
  }
  const std::string_view name = line.substr(0, colon);
  if (!is_http_token(name)) return peer_error("HTTP field with a bad name: " + quoted(name));
  const std::string_view value = trim_blanks(line.substr(colon + 1));
  if (!is_field_value(value)) {
    return peer_error("HTTP field " + std::string(name) + " with control characters in its value");
  }
  return HttpField{std::string(name), std::string(value)};
}

Result<size_t> LineReader::feed(std::span<const std::byte> bytes, size_t most) {
  size_t used = 0;
  while (used < bytes.size() && !complete_) {
    const char c = static_cast<char>(bytes[used++]);
    if (saw_cr_) {
      if (c != '\n') return peer_error("HTTP line with a carriage return inside it");
      complete_ = true;
    } else if (c == '\n') {
      return peer_error("HTTP line that ends without a carriage return");
    } else if (c == '\r') {
      saw_cr_ = true;
    } else {
      if (line_.size() >= most) {
        return peer_error("HTTP line longer than what is left of the allowed " +
                          std::to_string(most) + " bytes");
      }
      line_.push_back(c);
    }
  }
  return used;
}

void LineReader::next() {
  line_.clear();
  saw_cr_ = false;
  complete_ = false;
}

}  // namespace splitd::net

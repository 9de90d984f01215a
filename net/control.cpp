#include "net/control.h"

namespace splitd::net {

std::string error_header(std::string_view code, std::string_view message, bool retry) {
  JsonWriter out;
  out.begin_object().field("type", kTypeError).field("code", code).field("message", message);
  out.field("retry", retry).end_object();
  return out.take();
}

std::string_view message_type(Json header) {
  const std::optional<Json> type = header.find("type");
  return type && type->is_string() ? type->text() : std::string_view();
}

}  // namespace splitd::net

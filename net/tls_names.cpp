#include "net/tls_names.h"

#include "net/text.h"

namespace splitd::net {

bool dns_name_covers(std::string_view name, std::string_view host) {
  if (name.empty() || host.empty() || name.find('\0') != std::string_view::npos) return false;
  if (!name.starts_with("*.")) return equal_ignoring_case(name, host);
  const size_t dot = host.find('.');
  if (dot == 0 || dot == std::string_view::npos) return false;
  const std::string_view parent = name.substr(2);
  // "*.org" would cover half of the world.
  if (parent.find('.') == std::string_view::npos) return false;
  if (parent.find('*') != std::string_view::npos) return false;
  return equal_ignoring_case(parent, host.substr(dot + 1));
}

}  // namespace splitd::net

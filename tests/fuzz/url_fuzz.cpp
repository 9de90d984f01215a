// Any bytes as a URL and as a reference: what is accepted is clean, and reads the same again.
#include <cstdlib>
#include <string_view>

#include "net/url.h"

namespace {

using namespace splitd;
using namespace splitd::net;

void check(const Result<Url>& url) {
  if (!url) {
    for (const char c : url.error().message) {
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    }
    return;
  }
  const std::string text = url->text();
  for (const char c : text) {
    if (c <= 0x20 || c >= 0x7f) std::abort();
  }
  if (!url->path.starts_with('/') || url->port == 0 || url->host.empty()) std::abort();
  if (url->path.find("/../") != std::string::npos || url->path.ends_with("/..")) std::abort();
  const Result<Url> again = parse_url(text);
  if (!again || again->text() != text || !same_origin(*again, *url)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(parse_url(text));
  static const Url base = *parse_url("https://hub.example/org/name/resolve/main/file?x=y");
  check(resolve_url(base, text));
  return 0;
}

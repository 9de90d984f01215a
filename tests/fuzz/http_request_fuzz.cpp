// Any bytes as an HTTP/1.1 request: the parser ends, accepts nothing unclean, and says the same
// however the bytes are cut. The first byte chooses the pieces.
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_request.h"
#include "net/upgrade.h"

namespace {

using namespace splitd;
using namespace splitd::net;

std::string run(std::string_view text, size_t piece_bytes) {
  HttpRequestParser parser;
  std::string out;
  size_t at = 0;
  while (at < text.size() && !parser.done()) {
    std::string_view piece = text.substr(at, piece_bytes);
    while (!piece.empty() && !parser.done()) {
      const auto bytes = std::as_bytes(std::span(piece.data(), piece.size()));
      size_t used = 0;
      if (!parser.head_done()) {
        const Result<size_t> step = parser.parse_head(bytes);
        if (!step) {
          if (http_reason(parser.status()) == "?") std::abort();
          return "refused " + std::to_string(parser.status()) + step.error().message;
        }
        used = *step;
      } else {
        const Result<BodyDecoder::Step> step = parser.parse_body(bytes);
        if (!step) return "bad body " + step.error().message;
        used = step->consumed;
        out.append(reinterpret_cast<const char*>(step->data.data()), step->data.size());
      }
      if (used == 0 || used > piece.size()) std::abort();
      at += used;
      piece.remove_prefix(used);
    }
  }
  if (!parser.head_done()) return "unfinished";
  const HttpRequestHead& head = parser.head();
  if (!is_http_token(head.method) || head.target.empty()) std::abort();
  for (const HttpField& field : head.fields) {
    if (!is_http_token(field.name) || !is_field_value(field.value)) std::abort();
  }
  const RequestVerdict verdict = judge_request(head, parser.body());
  if (http_reason(verdict.status) == "?") std::abort();
  const bool browser = head.fields.find("Origin").has_value();
  if (browser && (verdict.probe || verdict.status == 101)) std::abort();
  return std::to_string(verdict.status) + verdict.reason + " " + std::to_string(at) + out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(text, text.size() + 1) != run(text, 1u + data[0] % 11)) std::abort();
  return 0;
}

// Any bytes as an HTTP/1.1 answer: the parser ends, and says the same however the bytes are cut.
// The first byte chooses the request that was answered and how the rest is cut.
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http1.h"
#include "net/http_retry.h"

namespace {

using namespace splitd;
using namespace splitd::net;

struct Outcome {
  std::string error;
  std::string body;
  size_t used = 0;
  bool done = false;
  bool reusable = false;
  int status = 0;

  bool operator==(const Outcome&) const = default;
};

Outcome run(std::string_view text, AnswerTo request, size_t piece_bytes) {
  HttpResponseParser parser(request);
  Outcome out;
  while (out.used < text.size() && !parser.done()) {
    std::string_view piece = text.substr(out.used, piece_bytes);
    while (!piece.empty() && !parser.done()) {
      const auto bytes = std::as_bytes(std::span(piece.data(), piece.size()));
      size_t used = 0;
      if (!parser.head_done()) {
        const Result<size_t> step = parser.parse_head(bytes);
        if (!step) return out.error = step.error().message, out;
        used = *step;
      } else {
        const Result<BodyDecoder::Step> step = parser.parse_body(bytes);
        if (!step) return out.error = step.error().message, out;
        used = step->consumed;
        out.body.append(reinterpret_cast<const char*>(step->data.data()), step->data.size());
      }
      if (used == 0 || used > piece.size()) std::abort();
      out.used += used;
      piece.remove_prefix(used);
    }
  }
  if (!parser.done()) {
    const Status end = parser.end_of_stream();
    if (!end.ok()) return out.error = end.error().message, out;
  }
  out.done = parser.done();
  out.reusable = parser.reusable();
  out.status = parser.head().status;
  for (const HttpField& field : parser.head().fields) {
    if (!is_http_token(field.name) || !is_field_value(field.value)) std::abort();
    (void)parse_content_range(field.value);
  }
  (void)retry_after(parser.head().fields, {});
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto request = static_cast<AnswerTo>(data[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outcome whole = run(text, request, text.size() + 1);
  Outcome cut = run(text, request, 1 + data[0] / 3 % 7);
  for (const char c : whole.error) {
    if ((static_cast<unsigned char>(c) < 0x20) || c == 0x7f) std::abort();
  }
  // After an error the bytes consumed before it depend on the pieces.
  if (!whole.error.empty()) whole.used = cut.used = 0, whole.body = cut.body = "";
  if (!(whole == cut)) std::abort();
  return 0;
}

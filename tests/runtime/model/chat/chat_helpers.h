// What several tests of this room share: rendering in one call, and the golden files.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/model/chat/chat_template.h"

namespace splitd {

inline constexpr int64_t kGoldenNow =
    1772874303;  // 2026-03-07 09:05:03, as the golden files have it

inline JsonDoc read_doc(const std::string& path) {
  Result<std::string> text = read_file(path);
  EXPECT_TRUE(text.ok()) << path;
  Result<JsonDoc> doc = JsonDoc::parse(text.ok() ? std::move(text).value() : "{}");
  EXPECT_TRUE(doc.ok()) << (doc.ok() ? "" : doc.error().message);
  return doc.ok() ? std::move(doc).value() : JsonDoc::parse("{}").value();
}

inline std::string golden_path(std::string_view name) {
  return std::string(SPLITD_TEST_DATA) + "/golden/" + std::string(name);
}

// The rendering, or "error: …".
inline std::string outcome(const Result<MarkedText>& rendered) {
  return rendered.ok() ? rendered->text : "error: " + rendered.error().message;
}

inline Result<MarkedText> try_render(std::string_view source, std::string_view input = "{}",
                                     RenderOptions options = {}) {
  Result<ChatTemplate> parsed = ChatTemplate::parse(std::string(source), {{"bos_token", "<s>"}});
  if (!parsed) return parsed.error();
  const Result<JsonDoc> doc = JsonDoc::parse_view(input);
  if (!doc) return doc.error();
  if (options.now == 0) options.now = kGoldenNow;
  return parsed->render(doc->root(), options);
}

inline std::string render(std::string_view source, std::string_view input = "{}",
                          RenderOptions options = {}) {
  return outcome(try_render(source, input, options));
}

}  // namespace splitd

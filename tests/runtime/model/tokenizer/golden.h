// What the tokenizer tests share: golden files, the shipped tokenizers, ids as messages show them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace splitd {

inline JsonDoc read_golden(const std::string& name) {
  const std::string path = SPLITD_TEST_DATA "/golden/" + name;
  Result<std::string> text = read_file(path);
  EXPECT_TRUE(text.ok()) << text.error().message;
  Result<JsonDoc> doc = JsonDoc::parse(text.ok() ? std::move(*text) : "null");
  EXPECT_TRUE(doc.ok()) << path << ": " << doc.error().message;
  return std::move(*doc);
}

inline Tokenizer open_shipped(const std::string& name) {
  Result<Tokenizer> tokenizer = Tokenizer::open(SPLITD_TEST_BUILD "/tokenizers/" + name);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(*tokenizer);
}

inline const std::vector<std::string>& shipped_names() {
  static const std::vector<std::string> names = {"deepseek_v3",  "gemma3", "llama2", "llama3",
                                                 "mistral_nemo", "qwen3",  "smollm2"};
  return names;
}

inline std::vector<uint32_t> ids_of(Json json) {
  std::vector<uint32_t> ids;
  for (const Json id : json.elements()) ids.push_back(static_cast<uint32_t>(*id.to_u64()));
  return ids;
}

inline std::vector<uint32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                                    const EncodeOptions& options = {}) {
  Result<std::vector<uint32_t>> ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.error().message;
  return ids.ok() ? std::move(*ids) : std::vector<uint32_t>{};
}

inline std::string decode(const Tokenizer& tokenizer, const std::vector<uint32_t>& ids,
                          bool keep_special = true) {
  Result<std::string> text = tokenizer.decode(ids, keep_special);
  EXPECT_TRUE(text.ok()) << text.error().message;
  return text.ok() ? std::move(*text) : std::string();
}

// All pieces of a stream, and what it ends with.
inline std::vector<std::string> stream(const Tokenizer& tokenizer, const std::vector<uint32_t>& ids,
                                       bool keep_special = true) {
  StreamDecoder decoder(tokenizer, keep_special);
  std::vector<std::string> pieces;
  for (const uint32_t id : ids) {
    Result<std::string> piece = decoder.push(id);
    EXPECT_TRUE(piece.ok()) << piece.error().message;
    pieces.push_back(piece.ok() ? std::move(*piece) : std::string());
  }
  pieces.push_back(decoder.finish());
  return pieces;
}

inline std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

}  // namespace splitd

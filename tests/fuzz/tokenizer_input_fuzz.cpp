// Any bytes as a text, through small tokenizers of the usual kinds: the first byte picks one, the
// second the literal range. Byte-level ones give the text back; streams agree with decoding.
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_alphabet.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace {

using namespace splitd;

constexpr std::string_view kAddedTokens =
    R"("added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":true,)"
    R"("normalized":false,"special":true},{"id":0,"content":"ab","single_word":true,"lstrip":true,)"
    R"("rstrip":false,"normalized":true,"special":false}],)";
constexpr std::string_view kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";

std::string byte_level(std::string_view normalizer, std::string_view pre_tokenizer) {
  JsonWriter vocabulary;
  vocabulary.begin_object();
  for (uint64_t byte = 0; byte < 256; ++byte) {
    std::string token;
    utf8_append(token, tok::kByteCharacters[byte]);
    vocabulary.key(token).number(byte);
  }
  vocabulary.key("aa").number(uint64_t{256}).key("aaa").number(uint64_t{257});
  vocabulary.key("\u0120\u0120").number(uint64_t{258}).end_object();
  return "{" + std::string(kAddedTokens) + R"("normalizer":)" + std::string(normalizer) +
         R"(,"pre_tokenizer":)" + std::string(pre_tokenizer) + R"(,"decoder":)" +
         std::string(kByteLevel) + R"(,"model":{"type":"BPE","vocab":)" + vocabulary.text() +
         R"(,"merges":["a a","aa a","Ġ Ġ"]}})";
}

constexpr std::string_view kCharacters =
    R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
    R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"decoder":{"type":"Sequence",)"
    R"("decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},)"
    R"({"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"BPE",)"
    R"("unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"a":1,"b":2,)"
    R"("▁":3,"▁▁":4,"▁a":5,"aa":6,"<0xE4>":7,"<0xBD>":8,"<0xA0>":9,"<0xFF>":10},)"
    R"("merges":["▁ ▁","▁ a","a a"]}})";

Tokenizer make(int kind) {
  std::string text;
  switch (kind) {
    case 0:
      text = byte_level("null", kByteLevel);
      break;
    case 1:
      text = byte_level(
          R"({"type":"NFC"})",
          R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
          R"("(?i:'s|'t|'re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+(?!\\S)|\\s+"},)"
          R"("behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,)"
          R"("trim_offsets":true,"use_regex":false}]})");
      break;
    default:
      text = "{" + std::string(kAddedTokens) + std::string(kCharacters);
  }
  Result<Tokenizer> tokenizer = Tokenizer::from_json(std::move(text));
  if (!tokenizer) std::abort();
  return std::move(*tokenizer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer kTokenizers[] = {make(0), make(1), make(2)};
  if (size < 2) return 0;
  const Tokenizer& tokenizer = kTokenizers[data[0] % 3];
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const ByteRange literal[] = {{data[1] * text.size() / 256, text.size()}};
  const EncodeOptions options = {.literal = literal};
  const Result<std::vector<uint32_t>> ids = tokenizer.encode(text, options);
  if (!ids) std::abort();
  const Result<std::string> decoded = tokenizer.decode(*ids);
  if (!decoded || !utf8_is_valid(*decoded)) std::abort();
  // rstrip and lstrip take white space away; NFC rewrites: only then may the text differ.
  const bool strips = text.find("<s>") != text.npos || text.find("ab") != text.npos;
  if (data[0] % 3 == 0 && !strips && *decoded != utf8_replace_invalid(text)) std::abort();
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const uint32_t id : *ids) {
    const Result<std::string> piece = stream.push(id);
    if (!piece || !utf8_is_valid(*piece)) std::abort();
    streamed += *piece;
  }
  streamed += stream.finish();
  if (data[0] % 3 != 2 && streamed != *decoded) std::abort();
  return 0;
}

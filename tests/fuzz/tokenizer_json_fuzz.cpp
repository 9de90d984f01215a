// Any bytes as a tokenizer.json: refused with a reason, or a tokenizer that encodes and decodes.
#include <cstdlib>
#include <string_view>

#include "runtime/model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const Result<Tokenizer> tokenizer =
      Tokenizer::from_json(std::string(reinterpret_cast<const char*>(data), size));
  if (!tokenizer) return tokenizer.error().message.empty() ? std::abort(), 1 : 0;
  constexpr std::string_view kText =
      "ab <s> a\xc3\xa9 \xe2\x96\x81the  \r\n\xf0\x9f\x99\x82 'S 12\xff</s>";
  const ByteRange literal[] = {{3, 8}};
  for (const EncodeOptions& options :
       {EncodeOptions{}, EncodeOptions{.all_literal = true}, EncodeOptions{.literal = literal}}) {
    const Result<std::vector<uint32_t>> ids = tokenizer->encode(kText, options);
    if (!ids) continue;
    for (const uint32_t id : *ids) {
      if (id >= tokenizer->n_vocab()) std::abort();
    }
    (void)tokenizer->decode(*ids);
    StreamDecoder stream(*tokenizer);
    for (const uint32_t id : *ids) (void)stream.push(id);
    (void)stream.finish();
  }
  return 0;
}

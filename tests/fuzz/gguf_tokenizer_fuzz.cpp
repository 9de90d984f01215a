// Any bytes as a .gguf with a tokenizer: refused with a reason, or a tokenizer that encodes and
// decodes texts of its own tokens, blanks, bytes and control tokens.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/base/files.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const FileDescriptor file(::memfd_create("gguf", MFD_CLOEXEC));
  if (!file.valid()) return 0;
  if (!write_all(file.get(), std::as_bytes(std::span(data, size))).ok()) return 0;
  // As Tokenizer::open does it for a path that ends with .gguf, which this one cannot.
  const Result<Gguf> gguf =
      Gguf::open("/proc/self/fd/" + std::to_string(file.get()), FileAccess::read);
  if (!gguf) return 0;
  Result<std::string> text_of_json = tokenizer_json_from_gguf(*gguf);
  if (!text_of_json) return text_of_json.error().message.empty() ? std::abort(), 1 : 0;
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(std::move(*text_of_json));
  if (!tokenizer) return tokenizer.error().message.empty() ? std::abort(), 1 : 0;
  std::string text = "ab <s> a\xc3\xa9 \xe2\x96\x81the  \xe2\x96\x81\xe2\x96\x81 \r\n12\xff 'S";
  for (uint32_t id = 0; id < std::min(tokenizer->n_vocab(), 40u); ++id) {
    text += tokenizer->token_of(id).value_or(" ");
  }
  for (const EncodeOptions& options : {EncodeOptions{}, EncodeOptions{.all_literal = true}}) {
    const Result<std::vector<uint32_t>> ids = tokenizer->encode(text, options);
    if (!ids) continue;
    for (const uint32_t id : *ids) {
      if (id >= tokenizer->n_vocab()) std::abort();
    }
    (void)tokenizer->decode(*ids);
  }
  return 0;
}

// Any bytes as a file of pre-shared keys: what is accepted has good identities, each once, and
// whole keys, and reads the same again when written by the book; no message holds a key.
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/psk_file.h"

using namespace splitd;
using namespace splitd::net;

static void check(bool good) {
  if (!good) std::abort();
}

static std::string line_of(const PskEntry& entry) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string line = entry.identity + " ";
  for (const char c : entry.key.reveal()) {
    line += kDigits[static_cast<unsigned char>(c) >> 4];
    line += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return line + "\n";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<std::vector<PskEntry>> keys = parse_psk_text(text, "keys");
  if (!keys.ok()) {
    check(keys.error().message.starts_with("keys:"));
    check(keys.error().message.size() < 400);
    return 0;
  }
  std::string again;
  for (const PskEntry& entry : *keys) {
    check(is_psk_identity(entry.identity) && entry.key.reveal().size() == kPskBytes);
    again += line_of(entry);
  }
  const Result<std::vector<PskEntry>> back = parse_psk_text(again, "again");
  check(back.ok() && back->size() == keys->size());
  for (size_t i = 0; i < keys->size(); ++i) {
    check((*back)[i].identity == (*keys)[i].identity);
    check((*back)[i].key.reveal() == (*keys)[i].key.reveal());
  }
  return 0;
}

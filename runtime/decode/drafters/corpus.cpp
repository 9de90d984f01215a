#include "runtime/decode/drafters/corpus.h"

#include <algorithm>
#include <string_view>

#include "runtime/base/files.h"

namespace splitd {
namespace {

constexpr std::string_view kMagic = "splitd-corpus 1\n";
constexpr size_t kDigestBytes = std::tuple_size_v<Sha256Digest>;
constexpr size_t kHeaderBytes = kMagic.size() + kDigestBytes + 4;

void put_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 255);
}

uint32_t get_u32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

void put_digest(std::string& out, const Sha256Digest& digest) {
  out.append(digest.begin(), digest.end());
}

Sha256Digest digest_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

bool is_digest(std::string_view bytes, const Sha256Digest& digest) {
  return std::equal(bytes.begin(), bytes.end(), digest.begin(), digest.end(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

}  // namespace

TokenCorpus TokenCorpus::open(std::string path, const Sha256Digest& vocabulary, uint32_t n_vocab,
                              const Log& log) {
  TokenCorpus corpus;
  corpus.path_ = std::move(path);
  corpus.vocabulary_ = vocabulary;
  corpus.n_vocab_ = n_vocab;
  corpus.entries_.reserve(kMostEntries * 2);
  if (!path_exists(corpus.path_)) return corpus;
  if (Status status = corpus.load(); !status.ok()) {
    corpus.entries_.clear();
    log.warning(corpus.path_ + ": " + status.error().message + "; beginning with an empty corpus");
  }
  return corpus;
}

Status TokenCorpus::load() {
  const size_t most = kHeaderBytes + kMostEntries * 4 + kDigestBytes;
  SPLITD_ASSIGN(const std::string bytes, read_file(path_, most));
  const std::string_view file = bytes;
  if (file.size() < kHeaderBytes + kDigestBytes || !file.starts_with(kMagic)) {
    return failed("not a corpus of splitd");
  }
  const std::string_view signed_part = file.substr(0, file.size() - kDigestBytes);
  if (!is_digest(file.substr(signed_part.size()), digest_of(signed_part))) {
    return failed("the file is damaged: its SHA-256 is another");
  }
  if (!is_digest(file.substr(kMagic.size(), kDigestBytes), vocabulary_) ||
      get_u32(file.substr(kMagic.size() + kDigestBytes)) != n_vocab_) {
    return failed("its tokens are those of another vocabulary");
  }
  const std::string_view body = signed_part.substr(kHeaderBytes);
  if (body.size() % 4 != 0) return failed("its length is not whole tokens");
  for (size_t at = 0; at < body.size(); at += 4) {
    const uint32_t entry = get_u32(body.substr(at));
    if (entry >= n_vocab_ && entry != kBoundary) {
      return failed("token " + std::to_string(entry) + "; the vocabulary has " +
                    std::to_string(n_vocab_));
    }
    entries_.push_back(entry);
  }
  return {};
}

void TokenCorpus::add(std::span<const uint32_t> text) {
  if (text.empty()) return;
  text = text.last(std::min(text.size(), kMostEntries - 1));
  entries_.push_back(kBoundary);
  entries_.insert(entries_.end(), text.begin(), text.end());
  if (entries_.size() <= kMostEntries) return;
  // From the first text that fits as a whole.
  auto first = entries_.end() - static_cast<std::ptrdiff_t>(kMostEntries);
  first = std::find(first, entries_.end(), kBoundary);
  entries_.erase(entries_.begin(), first);
}

Status TokenCorpus::save() const {
  std::string bytes(kMagic);
  bytes.reserve(kHeaderBytes + entries_.size() * 4 + kDigestBytes);
  put_digest(bytes, vocabulary_);
  put_u32(bytes, n_vocab_);
  for (const uint32_t entry : entries_) put_u32(bytes, entry);
  put_digest(bytes, digest_of(bytes));
  return write_file(path_, bytes, 0600);
}

}  // namespace splitd

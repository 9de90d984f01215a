#include "runtime/decode/drafters/corpus.h"

#include <algorithm>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/model/tokenizer/tokenizer.h"

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
    log.warning(corpus.path_ + ": " + status.error().message +
                (corpus.is_foreign_ ? "; it is left as it is, and nothing is kept of this session"
                                    : "; beginning with an empty corpus"));
  }
  return corpus;
}

Status TokenCorpus::check_path(const std::string& path) {
  if (is_directory(path)) return failed("cannot write " + path + ": it is a directory");
  // As it will be written: beside it, then renamed.
  if (Result<AtomicFile> file = AtomicFile::create(path, 0600); !file) return file.take_error();
  return {};
}

Status TokenCorpus::load() {
  entries_.clear();
  is_foreign_ = true;
  const size_t most = kHeaderBytes + kMostEntries * 4 + kDigestBytes;
  SPLITD_ASSIGN(const std::string bytes, read_file(path_, most));
  const std::string_view file = bytes;
  if (!file.substr(0, kMagic.size()).starts_with(kMagic.substr(0, file.size()))) {
    return failed("not a corpus of splitd");
  }
  const bool is_whole = file.size() >= kHeaderBytes + kDigestBytes;
  const std::string_view signed_part = file.substr(0, is_whole ? file.size() - kDigestBytes : 0);
  if (!is_whole || !is_digest(file.substr(signed_part.size()), digest_of(signed_part))) {
    is_foreign_ = false;
    return failed(is_whole ? "the file is damaged: its SHA-256 is another"
                           : "the file is damaged: it ends too early");
  }
  if (!is_digest(file.substr(kMagic.size(), kDigestBytes), vocabulary_) ||
      get_u32(file.substr(kMagic.size() + kDigestBytes)) != n_vocab_) {
    return failed("its tokens are those of another vocabulary");
  }
  is_foreign_ = false;
  const std::string_view body = signed_part.substr(kHeaderBytes);
  if (body.size() % 4 != 0) return failed("its length is not whole tokens");
  std::vector<uint32_t> entries;
  entries.reserve(body.size() / 4);
  for (size_t at = 0; at < body.size(); at += 4) {
    const uint32_t entry = get_u32(body.substr(at));
    if (entry >= n_vocab_ && entry != kBoundary) {
      return failed("token " + std::to_string(entry) + "; the vocabulary has " +
                    std::to_string(n_vocab_));
    }
    entries.push_back(entry);
  }
  entries_ = std::move(entries);
  return {};
}

Status TokenCorpus::record(std::span<const uint32_t> text) {
  if (is_foreign_) return {};
  std::vector<uint32_t> known = std::move(entries_);
  if (!path_exists(path_) || !load().ok()) entries_ = std::move(known);
  if (is_foreign_) return failed(path_ + " has become another file; it is left as it is");
  const bool goes_on = !last_.empty() && text.size() >= last_.size() &&
                       std::equal(last_.begin(), last_.end(), text.begin());
  if (goes_on) forget(last_);
  forget(text);  // once is enough
  last_.assign(text.begin(), text.end());
  add(text);
  return save();
}

// Takes the latest text out that is this one.
void TokenCorpus::forget(std::span<const uint32_t> text) {
  const auto is_end = [&](size_t at) { return at == entries_.size() || entries_[at] == kBoundary; };
  for (size_t first = entries_.size(); first-- > 0;) {
    if (entries_[first] != kBoundary || entries_.size() - first - 1 < text.size()) continue;
    const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first) + 1;
    if (!std::equal(text.begin(), text.end(), begin) || !is_end(first + 1 + text.size())) continue;
    entries_.erase(begin - 1, begin + static_cast<std::ptrdiff_t>(text.size()));
    return;
  }
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

Sha256Digest vocabulary_digest(const Tokenizer& tokenizer) {
  Sha256 hash;
  std::string spelled;
  for (uint32_t id = 0; id < tokenizer.n_vocab(); ++id) {
    const std::string_view token = tokenizer.token_of(id).value_or(std::string_view());
    spelled.clear();
    put_u32(spelled, static_cast<uint32_t>(token.size()));
    hash.update(spelled.append(token));
  }
  return hash.finish();
}

}  // namespace splitd

#include "runtime/model/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "runtime/base/json.h"
#include "runtime/model/tokenizer/byte_alphabet.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

constexpr size_t kMaxProbes = 512;       // as in Vocabulary: beyond this a table is hostile
constexpr size_t kShortWord = 40;        // symbols; longer words take the heap
constexpr size_t kCacheFromBytes = 512;  // a shorter text hardly repeats a word
constexpr size_t kMaxCachedWords = 8192;
constexpr uint32_t kNone = UINT32_MAX;

std::string quoted(std::string_view text) {
  std::string out;
  json_append_string(out, text.substr(0, 100));
  return out;
}

Error unknown_in_merge(size_t rank, std::string_view token) {
  return model_error("merges[" + std::to_string(rank) + "] needs the token " + quoted(token) +
                     ", which is not in the vocabulary");
}

}  // namespace

void MergeTable::reserve(size_t count) {
  slots_.assign(std::bit_ceil(count * 5 / 3 + 2), {});
  mask_ = slots_.size() - 1;
  shift_ = 64 - std::countr_zero(slots_.size());
}

Status MergeTable::add(uint32_t left, uint32_t right, Merge merge) {
  const uint64_t key = uint64_t{left} << 32 | right;
  size_t slot = hash(key);
  for (size_t probes = 0; slots_[slot].key != kEmpty && slots_[slot].key != key;
       slot = (slot + 1) & mask_) {
    if (++probes > kMaxProbes) return model_error("the merges collide in every table");
  }
  slots_[slot] = {key, merge};
  return {};
}

Result<Bpe> Bpe::create(Vocabulary vocabulary, const std::vector<Pair>& merges,
                        BpeOptions options) {
  Bpe bpe;
  bpe.vocabulary_ = std::move(vocabulary);
  bpe.options_ = std::move(options);
  bpe.has_affixes_ =
      !bpe.options_.continuing_subword_prefix.empty() || !bpe.options_.end_of_word_suffix.empty();
  SPLITD_TRY(bpe.add_merges(merges));
  if (!bpe.options_.unk_token.empty()) {
    bpe.unk_id_ = bpe.vocabulary_.find(bpe.options_.unk_token);
  }
  bpe.all_bytes_ = true;
  for (size_t byte = 0; byte < 256; ++byte) {
    bpe.byte_ids_[byte] = bpe.vocabulary_.find_character(kByteCharacters[byte]);
    bpe.all_bytes_ = bpe.all_bytes_ && bpe.byte_ids_[byte] != kNoId;
    constexpr char kHex[] = "0123456789ABCDEF";
    const std::string name = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
    bpe.fallback_ids_[byte] = bpe.vocabulary_.find(name);
  }
  return bpe;
}

Status Bpe::add_merges(const std::vector<Pair>& merges) {
  // Lookups miss the cache: they go a batch at a time, so that their misses overlap.
  constexpr size_t kBatch = 64;
  struct Job {
    std::array<uint64_t, 3> hashes;
    std::array<uint32_t, 3> ids;
    size_t joined_begin;
  };
  std::array<Job, kBatch> jobs;
  std::string joined;
  const size_t prefix = options_.continuing_subword_prefix.size();
  merges_.reserve(merges.size());
  std::vector<bool> is_result(vocabulary_.end_id());
  for (size_t first = 0; first < merges.size(); first += kBatch) {
    const size_t count = std::min(kBatch, merges.size() - first);
    const std::span<Job> batch(jobs.data(), count);
    joined.clear();
    for (size_t i = 0; i < count; ++i) {
      const Pair& pair = merges[first + i];
      if (pair.right.size() < prefix) return unknown_in_merge(first + i, pair.right);
      Job& job = jobs[i];
      job.joined_begin = joined.size();
      joined.append(pair.left).append(pair.right.substr(prefix));
      job.hashes = {hash_bytes(pair.left), hash_bytes(pair.right),
                    hash_bytes(std::string_view(joined).substr(job.joined_begin))};
      for (const uint64_t hash : job.hashes) vocabulary_.prefetch_slot(hash);
    }
    for (const Job& job : batch) {
      for (const uint64_t hash : job.hashes) vocabulary_.prefetch_span(hash);
    }
    for (const Job& job : batch) {
      for (const uint64_t hash : job.hashes) vocabulary_.prefetch_text(hash);
    }
    for (size_t i = 0; i < count; ++i) {
      const Pair& pair = merges[first + i];
      Job& job = jobs[i];
      const size_t length = pair.left.size() + pair.right.size() - prefix;
      const std::array<std::string_view, 3> texts = {
          pair.left, pair.right, std::string_view(joined).substr(job.joined_begin, length)};
      for (size_t k = 0; k < 3; ++k) {
        job.ids[k] = vocabulary_.find(texts[k], job.hashes[k]);
        if (job.ids[k] == kNoId) return unknown_in_merge(first + i, texts[k]);
      }
      merges_.prefetch(job.ids[0], job.ids[1]);
      is_result[job.ids[2]] = true;
    }
    for (size_t i = 0; i < count; ++i) {
      const auto& [left, right, id] = jobs[i].ids;
      SPLITD_TRY(merges_.add(left, right, {static_cast<uint32_t>(first + i), id}));
    }
  }
  if (!options_.bytes && !options_.ignore_merges && !has_affixes_) find_borders(is_result);
  return {};
}

// Two neighbouring characters that stand side by side in no merged token can never be in one
// symbol, so a text may be cut between them. The set has false positives, which only cost speed.
void Bpe::find_borders(const std::vector<bool>& is_result) {
  constexpr int kBits = 22;
  joins_.assign((size_t{1} << kBits) / 64, 0);
  join_shift_ = 64 - kBits;
  for (uint32_t id = 0; id < is_result.size(); ++id) {
    if (!is_result[id]) continue;
    const std::string_view token = vocabulary_.text(id);
    ValidCharacter left = valid_character(token.data());
    for (size_t at = left.length; at < token.size();) {
      const ValidCharacter right = valid_character(token.data() + at);
      const uint64_t hash = border_hash(left.code_point, right.code_point);
      joins_[hash / 64] |= uint64_t{1} << (hash % 64);
      at += right.length;
      left = right;
    }
  }
}

BpeEncoder::BpeEncoder(const Bpe& bpe, size_t text_bytes, std::vector<uint32_t>& out)
    : bpe_(bpe), out_(out) {
  if (text_bytes >= kCacheFromBytes) {
    known_.resize(std::min(kMaxCachedWords, std::bit_ceil(text_bytes / 8)));
  }
}

Status BpeEncoder::encode(std::string_view piece) {
  return bpe_.joins_.empty() ? encode_known(piece) : encode_cut(piece);
}

Status BpeEncoder::encode_known(std::string_view word) {
  if (known_.empty() || word.size() > Known::kMaxWord) return encode_new(word);
  // The text zero-padded, so that hashing takes whole words.
  std::array<uint64_t, 3> padded{};
  std::memcpy(padded.data(), word.data(), word.size());
  const uint64_t mixed = padded[0] ^ std::rotl(padded[1], 23) ^ std::rotl(padded[2], 45);
  const uint64_t hash = (mixed ^ uint64_t{word.size()} << 58) * 0x9e3779b97f4a7c15u;
  Known& known = known_[(hash >> 32) & (known_.size() - 1)];
  if (known.length == word.size() && std::memcmp(known.text, word.data(), word.size()) == 0) {
    for (uint32_t i = 0; i < known.count; ++i) out_.push_back(out_[known.begin + i]);
    return {};
  }
  const size_t begin = out_.size();
  SPLITD_TRY(encode_new(word));
  std::memcpy(known.text, word.data(), word.size());
  known.length = static_cast<uint8_t>(word.size());
  known.begin = static_cast<uint32_t>(begin);
  known.count = static_cast<uint32_t>(out_.size() - begin);
  return {};
}

Status BpeEncoder::encode_new(std::string_view word) {
  if (bpe_.options_.ignore_merges) {
    spelled_.clear();
    if (bpe_.options_.bytes) append_byte_characters(spelled_, word);
    const uint32_t id = bpe_.vocabulary_.find(bpe_.options_.bytes ? spelled_ : word);
    if (id != kNoId) {
      out_.push_back(id);
      return {};
    }
  }
  symbols_.clear();
  if (!symbols_of(word)) SPLITD_TRY(unlikely_symbols_of(word));
  if (symbols_.size() <= kShortWord) {
    merge_short();
  } else {
    merge_long();
  }
  return {};
}

// Cuts where no merge can reach across, so that a whole document without pre-tokens falls apart
// into words. Both characters must be in the vocabulary: what is not may vanish or become others.
Status BpeEncoder::encode_cut(std::string_view piece) {
  size_t begin = 0;
  ValidCharacter left = valid_character(piece.data());
  for (size_t at = left.length; at < piece.size();) {
    const ValidCharacter right = valid_character(piece.data() + at);
    if (!bpe_.may_join(left.code_point, right.code_point) &&
        bpe_.vocabulary_.find_character(left.code_point) != kNoId &&
        bpe_.vocabulary_.find_character(right.code_point) != kNoId) {
      SPLITD_TRY(encode_known(piece.substr(begin, at - begin)));
      begin = at;
    }
    at += right.length;
    left = right;
  }
  return encode_known(piece.substr(begin));
}

// The symbols of a word whose characters are all in the vocabulary; false when one is not.
bool BpeEncoder::symbols_of(std::string_view word) {
  if (bpe_.has_affixes_) return false;
  if (bpe_.options_.bytes) {
    if (!bpe_.all_bytes_) return false;
    for (const char byte : word) symbols_.push_back(bpe_.byte_ids_[static_cast<uint8_t>(byte)]);
    return true;
  }
  for (size_t at = 0; at < word.size();) {
    const ValidCharacter c = valid_character(word.data() + at);
    const uint32_t id = bpe_.vocabulary_.find_character(c.code_point);
    if (id == kNoId) return false;
    symbols_.push_back(id);
    at += c.length;
  }
  return true;
}

// Everything else, step by step as the library does it: prefix and suffix, bytes for unknown
// characters, the unknown token. An unknown token still waits while bytes are written, as there.
Status BpeEncoder::unlikely_symbols_of(std::string_view word) {
  const BpeOptions& options = bpe_.options_;
  symbols_.clear();
  std::string text(word);
  if (options.bytes) {
    text.clear();
    append_byte_characters(text, word);
  }
  bool unknown_waits = false;
  std::string symbol;
  for (size_t at = 0; at < text.size();) {
    const size_t length = valid_character(text.data() + at).length;
    symbol = at == 0 ? "" : options.continuing_subword_prefix;
    symbol.append(text, at, length);
    at += length;
    if (at == text.size()) symbol += options.end_of_word_suffix;
    const uint32_t id = bpe_.vocabulary_.find(symbol);
    if (id != kNoId) {
      if (unknown_waits) symbols_.push_back(bpe_.unk_id_);
      unknown_waits = false;
      symbols_.push_back(id);
      continue;
    }
    const auto fallback = [this](char byte) {
      return bpe_.fallback_ids_[static_cast<uint8_t>(byte)];
    };
    if (options.byte_fallback && std::all_of(symbol.begin(), symbol.end(),
                                             [&](char byte) { return fallback(byte) != kNoId; })) {
      for (const char byte : symbol) symbols_.push_back(fallback(byte));
      continue;
    }
    if (options.unk_token.empty()) continue;  // the character is dropped
    if (bpe_.unk_id_ == kNoId) {
      return model_error("unk_token " + quoted(options.unk_token) +
                         " is needed and not in the vocabulary");
    }
    if (unknown_waits && !options.fuse_unk) symbols_.push_back(bpe_.unk_id_);
    unknown_waits = true;
  }
  if (unknown_waits) symbols_.push_back(bpe_.unk_id_);
  return {};
}

void BpeEncoder::merge_short() {
  size_t count = symbols_.size();
  uint32_t* const ids = symbols_.data();
  std::array<uint32_t, kShortWord> ranks;  // of the pair that begins here
  std::array<uint32_t, kShortWord> merged;
  const auto look_up = [&](size_t i) {
    const Merge merge = bpe_.merges_.find(ids[i], ids[i + 1]);
    ranks[i] = merge.rank;
    merged[i] = merge.id;
  };
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == kNone) break;
    ids[best] = merged[best];
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      ids[i] = ids[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  out_.insert(out_.end(), ids, ids + count);
}

void BpeEncoder::merge_long() {
  const auto count = static_cast<uint32_t>(symbols_.size());
  links_.resize(count);
  heap_.clear();
  const auto entry = [](uint32_t rank, uint32_t at) { return uint64_t{rank} << 32 | at; };
  for (uint32_t i = 0; i < count; ++i) {
    Merge merge;
    if (i + 1 < count) merge = bpe_.merges_.find(symbols_[i], symbols_[i + 1]);
    links_[i] = {i - 1, i + 1 < count ? i + 1 : kNone, merge};
    if (merge.rank != kNone) heap_.push_back(entry(merge.rank, i));
  }
  links_[0].previous = kNone;
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  const auto look_up = [&](uint32_t at) {
    Link& link = links_[at];
    link.merge =
        link.next == kNone ? Merge() : bpe_.merges_.find(symbols_[at], symbols_[link.next]);
    if (link.merge.rank == kNone) return;
    heap_.push_back(entry(link.merge.rank, at));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  };
  while (!heap_.empty()) {
    const uint64_t top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    const auto at = static_cast<uint32_t>(top);
    // Stale: the pair that began here has merged away or changed. A dead symbol has no rank.
    if (links_[at].merge.rank != top >> 32) continue;
    const uint32_t right = links_[at].next;
    symbols_[at] = links_[at].merge.id;
    links_[at].next = links_[right].next;
    links_[right].merge = {};
    symbols_[right] = kNoId;
    if (links_[at].next != kNone) links_[links_[at].next].previous = at;
    if (links_[at].previous != kNone) look_up(links_[at].previous);
    look_up(at);
  }
  for (const uint32_t id : symbols_) {
    if (id != kNoId) out_.push_back(id);
  }
}

}  // namespace splitd::tok

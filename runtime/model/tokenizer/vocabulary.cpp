#include "runtime/model/tokenizer/vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "runtime/base/json.h"
#include "runtime/base/utf8.h"

namespace splitd::tok {
namespace {

// A legal vocabulary at half load never probes this far; a hostile one would be quadratic.
constexpr size_t kMaxProbes = 512;

__extension__ using Wide = unsigned __int128;

uint64_t mix(uint64_t a, uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const char* bytes, size_t count) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

std::string quoted(std::string_view text) {
  std::string out;
  json_append_string(out, text.substr(0, 100));
  return out;
}

}  // namespace

uint64_t hash_bytes(std::string_view text) {
  constexpr uint64_t kFirst = 0x9e3779b97f4a7c15u;
  constexpr uint64_t kSecond = 0xd6e8feb86659fd93u;
  uint64_t state = kFirst ^ text.size();
  const char* at = text.data();
  size_t left = text.size();
  for (; left > 8; left -= 8, at += 8) state = mix(state ^ load(at, 8), kSecond);
  return mix(state ^ load(at, left), kFirst) ^ state;
}

void Vocabulary::reserve(size_t count, size_t text_bytes) {
  texts_.reserve(text_bytes);
  spans_.reserve(count);
  // Holes are fine, but a small file does not get a large table.
  constexpr size_t kAlways = 1u << 17;
  last_id_ = static_cast<uint32_t>(std::clamp<size_t>(4 * count, kAlways, kMaxTokenId));
}

Status Vocabulary::add(std::string_view text, uint32_t id) {
  if (id > last_id_) {
    return model_error("token " + quoted(text) + " has the id " + std::to_string(id) +
                       "; at most " + std::to_string(last_id_) + " is accepted here");
  }
  if (text.size() > kMaxTokenBytes) {
    return model_error("token " + std::to_string(id) + " is " + std::to_string(text.size()) +
                       " bytes long; at most " + std::to_string(kMaxTokenBytes) + " are accepted");
  }
  if (id >= spans_.size()) spans_.resize(size_t{id} + 1, {kNoId, 0});
  if (has(id)) {
    return model_error("tokens " + quoted(this->text(id)) + " and " + quoted(text) +
                       " have the same id " + std::to_string(id));
  }
  spans_[id] = {static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(text.size())};
  texts_.append(text);
  ++count_;
  return {};
}

Status Vocabulary::insert(uint32_t id, uint64_t hash) {
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t slot = hash & mask_;
  for (size_t probes = 0; slots_[slot].id != kNoId; slot = (slot + 1) & mask_) {
    if (++probes > kMaxProbes) return model_error("the vocabulary's tokens collide in every table");
    if (slots_[slot].tag == tag && text(slots_[slot].id) == text(id)) {
      return model_error("token " + quoted(text(id)) + " stands twice in the vocabulary");
    }
  }
  slots_[slot] = {tag, id};
  return {};
}

Status Vocabulary::finish() {
  slots_.assign(std::bit_ceil(count_ * 2 + 2), {0, kNoId});
  mask_ = slots_.size() - 1;
  constexpr uint32_t kAhead = 16;  // insertions whose misses overlap
  std::array<uint64_t, kAhead> hashes{};
  for (uint32_t id = 0; id < end_id() + kAhead; ++id) {
    if (id >= kAhead && has(id - kAhead)) SPLITD_TRY(insert(id - kAhead, hashes[id % kAhead]));
    if (!has(id)) continue;
    hashes[id % kAhead] = hash_bytes(text(id));
    prefetch_slot(hashes[id % kAhead]);
  }

  basic_characters_.assign(0x10000, kNoId);
  for (uint32_t id = 0; id < end_id(); ++id) {
    if (!has(id) || spans_[id].length == 0 || spans_[id].length > 4) continue;
    const Utf8Step step = utf8_decode(text(id));
    if (!step.valid || step.length != spans_[id].length) continue;
    if (step.code_point < basic_characters_.size()) {
      basic_characters_[step.code_point] = id;
    } else {
      other_characters_.emplace(step.code_point, id);
    }
  }
  return {};
}

}  // namespace splitd::tok

#include "runtime/model/tokenizer/decoder.h"

#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_alphabet.h"
#include "runtime/model/tokenizer/json_fields.h"
#include "runtime/model/tokenizer/text_pattern.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

constexpr std::string_view kSupported =
    "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace and Metaspace are supported";
constexpr size_t kMaxStripped = 1024;

// Passes on the whole characters of state.held, invalid bytes replaced; keeps an incomplete one.
void release_utf8(std::string& held, bool at_end, TokenTexts& out) {
  std::string* text = nullptr;
  const auto append = [&](std::string_view part) {
    if (part.empty()) return;
    if (text == nullptr) text = &out.add();
    text->append(part);
  };
  size_t at = 0;
  while (at < held.size()) {
    const std::string_view rest = std::string_view(held).substr(at);
    const size_t good = utf8_valid_prefix(rest);
    append(rest.substr(0, good));
    at += good;
    if (at == held.size()) break;
    const Utf8Step step = utf8_decode(rest.substr(good));
    if (step.incomplete && !at_end) break;
    append(kReplacementUtf8);
    at += step.length;
  }
  held.erase(0, at);
}

// Characters of the byte alphabet back to bytes; a token with any other character stands for its
// own bytes.
class ByteLevelStep : public DecoderStep {
 public:
  void push(std::string& token, DecodeStepState& state, bool, TokenTexts& out) const override {
    const size_t begin = state.held.size();
    for (size_t at = 0; at < token.size();) {
      const ValidCharacter c = valid_character(token.data() + at);
      const int byte = byte_of_character(c.code_point);
      if (byte < 0) {
        state.held.replace(begin, std::string::npos, token);
        break;
      }
      state.held.push_back(static_cast<char>(byte));
      at += c.length;
    }
    release_utf8(state.held, false, out);
  }
  void finish(DecodeStepState& state, TokenTexts& out) const override {
    release_utf8(state.held, true, out);
  }
};

// <0xE4> is a byte. A run of them is text where it is valid, else a replacement character each.
class ByteFallbackStep : public DecoderStep {
 public:
  void push(std::string& token, DecodeStepState& state, bool eager,
            TokenTexts& out) const override {
    const int byte = byte_of_token(token);
    if (byte < 0) {
      finish(state, out);
      out.add().swap(token);
      return;
    }
    state.held.push_back(static_cast<char>(byte));
    if (!eager || state.done) return;  // done: the run is invalid already
    const Utf8Step step = utf8_decode(state.held);
    if (step.valid && step.length == state.held.size()) {
      out.add().swap(state.held);
      state.held.clear();
    } else if (!step.incomplete) {
      state.done = true;
    }
  }
  void finish(DecodeStepState& state, TokenTexts& out) const override {
    state.done = false;
    if (state.held.empty()) return;
    if (utf8_is_valid(state.held)) {
      out.add().swap(state.held);
    } else {
      for (size_t i = 0; i < state.held.size(); ++i) out.add() = kReplacementUtf8;
    }
    state.held.clear();
  }

 private:
  static int byte_of_token(std::string_view token) {
    if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
    // As Rust parses a number: "+F" is one.
    const auto digit = [](char c) {
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') return c - '0';
      return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    };
    const int high = token[3] == '+' ? 0 : digit(token[3]);
    const int low = digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
};

class ReplaceStep : public DecoderStep {
 public:
  ReplaceStep(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void push(std::string& token, DecodeStepState& state, bool, TokenTexts& out) const override {
    std::vector<Match>& matches = state.matches;
    matches.clear();
    if (!state.scratch) state.scratch = std::make_unique<RegexScratch>();
    // A pattern that runs out of steps leaves the token as it is.
    if (!pattern_.find_all(token, *state.scratch, matches).ok()) matches.clear();
    if (matches.empty()) {
      out.add().swap(token);
      return;
    }
    std::string& text = out.add();
    size_t copied = 0;
    for (const Match& match : matches) {
      text.append(token, copied, match.begin - copied);
      text.append(content_);
      copied = match.end;
    }
    text.append(token, copied);
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class MetaspaceStep : public DecoderStep {
 public:
  MetaspaceStep(char32_t replacement, bool prepends, bool fused)
      : prepends_(prepends), fused_(fused) {
    utf8_append(replacement_, replacement);
  }
  void push(std::string& token, DecodeStepState& state, bool, TokenTexts& out) const override {
    const bool is_first = fused_ || state.count == 0;
    state.count = 1;
    std::string& text = out.add();
    size_t at = 0;
    while (at < token.size()) {
      const size_t found = std::min(token.find(replacement_, at), token.size());
      text.append(token, at, found - at);
      if (found < token.size() && !(is_first && prepends_)) text.push_back(' ');
      at = found + replacement_.size();
    }
  }

 private:
  std::string replacement_;
  bool prepends_;
  bool fused_;  // all tokens are one
};

// Cuts up to `start` characters at the left and `stop` at the right: of every token, or once they
// are fused, of the text.
class StripStep : public DecoderStep {
 public:
  StripStep(char32_t content, size_t start, size_t stop, bool fused)
      : start_(start), stop_(stop), fused_(fused) {
    utf8_append(content_, content);
  }
  void push(std::string& token, DecodeStepState& state, bool, TokenTexts& out) const override {
    if (!fused_) {
      strip_left(token, start_);
      token.resize(stripped_right(token, stop_));
      out.add().swap(token);
      return;
    }
    if (!state.done) {
      state.count += strip_left(token, start_ - state.count);
      if (!token.empty() || state.count == start_) state.done = true;
    }
    // What may yet turn out to be the end of the text waits.
    state.held += token;
    const size_t kept = stripped_right(state.held, stop_);
    if (kept > 0) out.add().assign(state.held, 0, kept);
    state.held.erase(0, kept);
  }

 private:
  size_t strip_left(std::string& text, size_t most) const {
    size_t count = 0;
    size_t at = 0;
    for (; count < most && text.compare(at, content_.size(), content_) == 0; ++count) {
      at += content_.size();
    }
    text.erase(0, at);
    return count;
  }
  // The size of what stays.
  size_t stripped_right(std::string_view text, size_t most) const {
    for (size_t i = 0; i < most && text.ends_with(content_); ++i) {
      text.remove_suffix(content_.size());
    }
    return text.size();
  }

  std::string content_;  // one character
  size_t start_;
  size_t stop_;
  bool fused_;
};

class FuseStep : public DecoderStep {
 public:
  void push(std::string& token, DecodeStepState&, bool, TokenTexts& out) const override {
    out.add().swap(token);  // later steps know that tokens are one
  }
};

Result<char32_t> character_field(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  if (value && value->is_string()) {
    const Utf8Step step = utf8_decode(value->text());
    if (step.valid && step.length == value->text().size()) return step.code_point;
  }
  return bad_field(name, value, "one character");
}

Result<size_t> count_field(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  const std::optional<uint64_t> count = value ? value->to_u64() : std::nullopt;
  if (!count || *count > kMaxStripped) return bad_field(name, value, "a number up to 1024");
  return static_cast<size_t>(*count);
}

using StepPointer = std::unique_ptr<const DecoderStep>;

Result<StepPointer> parse_step(std::string_view type, Json json, bool fused) {
  if (type == "ByteLevel") return StepPointer(std::make_unique<ByteLevelStep>());
  if (type == "ByteFallback") return StepPointer(std::make_unique<ByteFallbackStep>());
  if (type == "Fuse") return StepPointer(std::make_unique<FuseStep>());
  if (type == "Replace") {
    SPLITD_ASSIGN(TextPattern pattern, TextPattern::parse(json.find("pattern")));
    SPLITD_ASSIGN(std::string content, content_field(json, "content"));
    return StepPointer(std::make_unique<ReplaceStep>(std::move(pattern), std::move(content)));
  }
  if (type == "Strip") {
    SPLITD_ASSIGN(const char32_t content, character_field(json, "content"));
    SPLITD_ASSIGN(const size_t start, count_field(json, "start"));
    SPLITD_ASSIGN(const size_t stop, count_field(json, "stop"));
    return StepPointer(std::make_unique<StripStep>(content, start, stop, fused));
  }
  if (type == "Metaspace") {
    SPLITD_ASSIGN(const char32_t replacement, character_field(json, "replacement"));
    const std::optional<Json> scheme = json.find("prepend_scheme");
    const std::optional<Json> prefix = json.find("add_prefix_space");
    const bool never =
        (scheme && scheme->text() == "never") || (prefix && prefix->to_bool() == false);
    return StepPointer(std::make_unique<MetaspaceStep>(replacement, !never, fused));
  }
  return model_error("not supported; " + std::string(kSupported));
}

}  // namespace

Result<Decoder> Decoder::parse(std::optional<Json> json) {
  Decoder decoder;
  if (!json || json->is_null()) {
    decoder.joins_with_space_ = true;
    return decoder;
  }
  size_t count = 0;
  bool fused = false;
  SPLITD_TRY(for_each_step(*json, "decoders", count, [&](std::string_view type, Json step) {
    Result<StepPointer> made = parse_step(type, step, fused);
    if (!made) return Status(made.take_error());
    decoder.steps_.push_back(std::move(*made));
    fused = fused || type == "Fuse" || type == "ByteLevel";
    return Status();
  }));
  return decoder;
}

DecodeState Decoder::start(bool eager) const {
  DecodeState state;
  state.steps.resize(steps_.size());
  state.eager = eager;
  return state;
}

// state.texts through the steps from `first` on.
void Decoder::run(DecodeState& state, size_t first, std::string& out) const {
  for (size_t i = first; i < steps_.size(); ++i) {
    state.next.clear();
    for (std::string& token : state.texts.all()) {
      steps_[i]->push(token, state.steps[i], state.eager, state.next);
    }
    std::swap(state.texts, state.next);
  }
  for (const std::string& token : state.texts.all()) out.append(token);
}

void Decoder::push(DecodeState& state, std::string_view token, std::string& out) const {
  if (joins_with_space_) {
    if (state.any) out.push_back(' ');
    state.any = true;
    out.append(token);
    return;
  }
  state.texts.clear();
  state.texts.add() = token;
  run(state, 0, out);
}

void Decoder::finish(DecodeState& state, std::string& out) const {
  for (size_t i = 0; i < steps_.size(); ++i) {
    state.texts.clear();
    steps_[i]->finish(state.steps[i], state.texts);
    run(state, i + 1, out);
  }
}

}  // namespace splitd::tok

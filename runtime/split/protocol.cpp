#include "runtime/split/protocol.h"

#include <array>
#include <limits>

namespace splitd {

static constexpr std::array<std::string_view, 6> kTypes = {"hello", "welcome", "step",
                                                           "rows",  "close",   "error"};
static constexpr std::array<std::string_view, 14> kRefusals = {
    "bad_request", "version",   "model",    "layers",   "compute", "full", "lost",
    "numbers",     "too_large", "replaced", "draining", "idle",    "slow", "internal"};
static constexpr std::array<std::string_view, 4> kKvNames = {"f32", "f16", "bf16", "q8"};
static constexpr size_t kMostMessageBytes = 1000;

std::string_view refusal_name(Refusal refusal) {
  return kRefusals[static_cast<size_t>(refusal)];
}

std::string_view kv_name(KvType type) {
  return kKvNames[static_cast<size_t>(type)];
}

// ---- Writing

static JsonWriter& begin(JsonWriter& json, MessageType type) {
  json.clear();
  return json.begin_object().field("type", kTypes[static_cast<size_t>(type)]);
}

static void write_layers(JsonWriter& json, LayerRange layers) {
  json.key("layers").begin_array();
  json.number(uint64_t{layers.begin}).number(uint64_t{layers.end}).end_array();
}

void write_hello(JsonWriter& json, const HelloMessage& message) {
  begin(json, MessageType::hello).field("version", message.version);
  json.field("fingerprint", std::string_view(message.fingerprint));
  if (message.layers) write_layers(json, *message.layers);
  json.field("d_model", message.d_model).field("wire", wire_name(message.wire));
  if (message.kv) json.field("kv", kv_name(*message.kv));
  if (message.exact) json.field("compute", *message.exact ? "f32" : "auto");
  json.field("n_ctx", message.n_ctx).field("max_pending", message.max_pending);
  if (!message.resume.empty()) json.field("resume", std::string_view(message.resume));
  json.end_object();
}

void write_welcome(JsonWriter& json, const WelcomeMessage& message) {
  begin(json, MessageType::welcome).field("version", message.version);
  json.field("fingerprint", std::string_view(message.fingerprint));
  write_layers(json, message.layers);
  json.field("arith", std::string_view(message.arith)).field("d_model", message.d_model);
  json.field("n_ctx", message.n_ctx).field("max_pending", message.max_pending);
  json.field("window", message.window);
  json.field("max_rows", message.max_rows).field("idle_s", message.idle_s);
  if (message.bulk) json.field("bulk", true);
  if (!message.resume.empty()) {
    json.field("resume", std::string_view(message.resume)).field("resumed", message.resumed);
  }
  json.end_object();
}

void write_step(JsonWriter& json, const StageRequest& request) {
  begin(json, MessageType::step).field("seq", request.seq).field("ack", request.ack);
  using Edit = TimelineRequest::Edit;
  const TimelineRequest& timeline = request.timeline;
  if (timeline.edit == Edit::keep) json.field("keep", timeline.keep);
  if (timeline.edit == Edit::keep && timeline.alone) json.field("alone", true);
  if (timeline.edit == Edit::rewind) json.field("rewind", timeline.rewind);
  if (timeline.append) {
    const Frame& frame = *timeline.append;
    json.field("first", frame.first);
    if (frame.base != kNoRow) json.field("base", frame.base);
    json.field("n", frame.n_row);
    if (!frame.parents.empty()) {
      json.key("parents").begin_array();
      for (const int32_t parent : frame.parents) json.number(int64_t{parent});
      json.end_array();
    }
    if (frame.commit) json.field("commit", true);
    if (frame.bulk) json.field("bulk", true);
  }
  json.end_object();
}

void write_rows(JsonWriter& json, const RowsMessage& message) {
  begin(json, MessageType::rows).field("seq", message.seq).field("n", message.n_row);
  if (!message.dead.empty()) {
    json.key("dead").begin_array();
    for (const RowId id : message.dead) json.number(uint64_t{id});
    json.end_array();
  }
  // Microseconds are all that a reader can use.
  json.field("ms", static_cast<double>(static_cast<int64_t>(message.ms * 1000)) / 1000);
  json.end_object();
}

void write_error(JsonWriter& json, const ErrorMessage& message) {
  begin(json, MessageType::error);
  if (message.seq) json.field("seq", *message.seq);
  json.field("code", refusal_name(message.code));
  json.field("message", std::string_view(message.message).substr(0, kMostMessageBytes));
  json.field("retry", message.retry);
  json.end_object();
}

void write_close(JsonWriter& json) {
  begin(json, MessageType::close);
  json.end_object();
}

// ---- Reading

// A value as messages show it. Strings are left out: an error travels back to whoever sent them.
static std::string shown(Json value) {
  return value.is_string() ? std::string(json_kind_name(value.kind())) : value.describe();
}

// Fields of one message. The first that is wrong is kept; the values read after it mean nothing.
class MessageReader::Fields {
 public:
  Fields(const MessageReader& reader) : type_(reader.type_name()), root_(*reader.header_) {}

  std::optional<Json> find(std::string_view name) {
    std::optional<Json> field = root_.find(name);
    if (field && field->is_null()) return std::nullopt;
    return field;
  }
  bool has(std::string_view name) { return find(name).has_value(); }

  template <class T>
  T integer(std::string_view name, T least, T most) {
    const std::optional<Json> field = find(name);
    if (!field) return refuse(name, "is missing", range_text(least, most)), T{};
    return integer_of(*field, name, least, most);
  }
  template <class T>
  T integer(std::string_view name, T least, T most, T fallback) {
    return has(name) ? integer<T>(name, least, most) : fallback;
  }
  template <class T>
  T integer_of(Json value, std::string_view name, T least, T most) {
    const std::optional<int64_t> number = value.to_i64();
    if (!number || *number < static_cast<int64_t>(least) || *number > static_cast<int64_t>(most)) {
      refuse(name, "is " + shown(value), range_text(least, most));
      return T{};
    }
    return static_cast<T>(*number);
  }
  bool boolean(std::string_view name) {
    const std::optional<Json> field = find(name);
    if (!field) return false;
    const std::optional<bool> value = field->to_bool();
    if (!value) refuse(name, "is " + shown(*field), "true or false");
    return value.value_or(false);
  }
  std::string text(std::string_view name, size_t most_bytes) {
    const std::optional<Json> field = find(name);
    if (!field) return {};
    if (!field->is_string() || field->text().size() > most_bytes) {
      refuse(name, "is " + shown(*field),
             "a string of at most " + std::to_string(most_bytes) + " bytes");
      return {};
    }
    return std::string(field->text());
  }
  std::string hex(std::string_view name, size_t n_digit) {
    std::string value = text(name, n_digit);
    const bool good =
        value.size() == n_digit && value.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!value.empty() && !good) {
      refuse(name, "is " + shown(*find(name)), std::to_string(n_digit) + " hex digits");
    }
    return value;
  }
  template <size_t N>
  size_t choice(std::string_view name, const std::array<std::string_view, N>& choices) {
    const std::optional<Json> field = find(name);
    const std::string_view value = field ? field->text() : "";
    for (size_t i = 0; i < N; ++i) {
      if (field && field->is_string() && choices[i] == value) return i;
    }
    std::string accepted;
    for (const std::string_view one : choices) {
      accepted += (accepted.empty() ? "" : ", ") + std::string(one);
    }
    refuse(name, field ? "is " + shown(*field) : "is missing", accepted);
    return 0;
  }
  LayerRange layers() {
    const std::optional<Json> field = find("layers");
    std::array<uint32_t, 2> ends{};
    if (!field || !field->is_array() || field->size() != 2) {
      refuse("layers", field ? "is " + shown(*field) : "is missing", "[first, end]");
      return {};
    }
    size_t i = 0;
    for (const Json end : field->elements()) ends[i++] = integer_of(end, "layers", 0u, kMaxLayers);
    if (ends[0] > ends[1]) refuse("layers", "ends before it begins", "[first, end]");
    return {ends[0], ends[1]};
  }
  // Items appended to `into`; no more than `most`.
  template <class T>
  void integers(std::string_view name, size_t most_items, T least, T most, std::vector<T>& into) {
    into.clear();
    const std::optional<Json> field = find(name);
    if (!field) return;
    if (!field->is_array() || field->size() > most_items) {
      refuse(name, "is " + shown(*field),
             "an array of at most " + std::to_string(most_items) + " integers");
      return;
    }
    for (const Json item : field->elements()) into.push_back(integer_of(item, name, least, most));
  }

  void refuse(std::string_view name, std::string_view is, std::string_view accepted) {
    if (!status_.ok()) return;
    status_ = peer_error(std::string(type_) + ": \"" + std::string(name) + "\" " + std::string(is) +
                         "; accepted: " + std::string(accepted));
  }
  Status take() { return std::move(status_); }

 private:
  template <class T>
  static std::string range_text(T least, T most) {
    return "an integer from " + std::to_string(least) + " to " + std::to_string(most);
  }

  std::string_view type_;
  Json root_;
  Status status_;
};

static constexpr uint32_t kMostU32 = std::numeric_limits<uint32_t>::max();

std::string_view MessageReader::type_name() const {
  return kTypes[static_cast<size_t>(type_)];
}

Status MessageReader::read(Json header) {
  header_ = header;
  const std::optional<Json> type = header.find("type");
  if (!type || !type->is_string()) return peer_error("the message's header has no \"type\"");
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i] != type->text()) continue;
    type_ = static_cast<MessageType>(i);
    return {};
  }
  return peer_error("this type of message is unknown");
}

Result<HelloMessage> MessageReader::hello() const {
  Fields fields(*this);
  HelloMessage out;
  out.version = fields.integer("version", 0u, kMostU32);
  // Another version may say everything else in another way.
  if (out.version != kProtocolVersion) {
    SPLITD_TRY(fields.take());
    return out;
  }
  out.fingerprint = fields.hex("fingerprint", 64);
  if (fields.has("layers")) out.layers = fields.layers();
  out.d_model = fields.integer("d_model", 0u, kMaxModelDim, 0u);
  if (fields.has("wire")) {
    const Result<WireType> wire = wire_of_name(fields.text("wire", 8));
    if (!wire) fields.refuse("wire", "is unknown", "f16, bf16, f32, q8, q4");
    if (wire) out.wire = *wire;
  }
  if (fields.has("kv")) out.kv = static_cast<KvType>(fields.choice("kv", kKvNames));
  if (fields.has("compute")) {
    out.exact = fields.choice("compute", std::array<std::string_view, 2>{"auto", "f32"}) == 1;
  }
  out.n_ctx = fields.integer("n_ctx", 0u, kMostU32, 0u);
  out.max_pending = fields.integer("max_pending", 0u, kMostU32, 0u);
  out.resume = fields.hex("resume", 32);
  SPLITD_TRY(fields.take());
  return out;
}

Result<WelcomeMessage> MessageReader::welcome() const {
  Fields fields(*this);
  WelcomeMessage out;
  out.version = fields.integer("version", 0u, kMostU32);
  out.fingerprint = fields.hex("fingerprint", 64);
  out.layers = fields.layers();
  out.arith = fields.text("arith", 200);
  out.d_model = fields.integer("d_model", 0u, kMaxModelDim, 0u);
  out.n_ctx = fields.integer("n_ctx", 0u, kMostU32, 0u);
  out.max_pending = fields.integer("max_pending", 0u, kMostU32, 0u);
  out.window = fields.integer("window", 1u, kMostU32);
  out.max_rows = fields.integer("max_rows", 1u, kMostU32);
  out.bulk = fields.boolean("bulk");
  out.idle_s = fields.integer("idle_s", 0u, kMostU32, 0u);
  out.resume = fields.hex("resume", 32);
  out.resumed = fields.boolean("resumed");
  SPLITD_TRY(fields.take());
  return out;
}

Result<StageRequest> MessageReader::step() {
  using Edit = TimelineRequest::Edit;
  Fields fields(*this);
  StageRequest out;
  out.seq = fields.integer("seq", 1u, kMostU32);
  out.ack = fields.integer("ack", 0u, kMostU32);
  if (fields.has("keep")) {
    out.timeline.edit = Edit::keep;
    out.timeline.keep = fields.integer("keep", 0u, kMostU32 - 1);
    out.timeline.alone = fields.boolean("alone");
  }
  if (fields.has("rewind")) {
    if (out.timeline.edit == Edit::keep)
      fields.refuse("rewind", "stands beside keep", "one of both");
    out.timeline.edit = Edit::rewind;
    out.timeline.rewind = fields.integer("rewind", 0u, kMostU32);
  }
  parents_.clear();
  if (fields.has("n") || fields.has("first")) {
    Frame frame;
    frame.n_row = fields.integer("n", 1u, kMostFrameRows);
    frame.first = fields.integer("first", 0u, kMostU32 - 1);
    frame.base = fields.integer("base", 0u, kMostU32 - 1, kNoRow);
    frame.commit = fields.boolean("commit");
    frame.bulk = fields.boolean("bulk");
    fields.integers("parents", frame.n_row, std::numeric_limits<int32_t>::min(),
                    static_cast<int32_t>(kMostFrameRows), parents_);
    if (!parents_.empty() && parents_.size() != frame.n_row) {
      fields.refuse("parents", "has " + std::to_string(parents_.size()) + " items",
                    std::to_string(frame.n_row) + ", as many as \"n\"");
    }
    frame.parents = parents_;
    out.timeline.append = frame;
  }
  SPLITD_TRY(fields.take());
  return out;
}

Result<RowsMessage> MessageReader::rows() {
  Fields fields(*this);
  RowsMessage out;
  out.seq = fields.integer("seq", 1u, kMostU32);
  out.n_row = fields.integer("n", 0u, kMostFrameRows);
  fields.integers("dead", kMostFrameRows, 0u, kMostU32 - 1, dead_);
  out.dead = dead_;
  const std::optional<Json> ms = fields.find("ms");
  out.ms = ms ? ms->to_f64().value_or(0) : 0;
  SPLITD_TRY(fields.take());
  return out;
}

Result<ErrorMessage> MessageReader::error() const {
  Fields fields(*this);
  ErrorMessage out;
  if (fields.has("seq")) out.seq = fields.integer("seq", 1u, kMostU32);
  const std::string code = fields.text("code", 100);
  for (size_t i = 0; i < kRefusals.size(); ++i) {  // one that is not known yet is internal
    if (kRefusals[i] == code) out.code = static_cast<Refusal>(i);
  }
  out.message = fields.text("message", kMostMessageBytes);
  out.retry = fields.boolean("retry");
  SPLITD_TRY(fields.take());
  return out;
}

Error error_of(const ErrorMessage& message) {
  const ErrorKind kind = message.code == Refusal::numbers ? ErrorKind::model : ErrorKind::peer;
  if (message.code != Refusal::lost || message.message.starts_with(kLost)) {
    return {kind, message.message};
  }
  return {kind, std::string(kLost) + ": " + message.message};
}

ErrorMessage message_of(const Error& error) {
  ErrorMessage out;
  out.message = error.message;
  if (is_lost(error)) {
    out.code = Refusal::lost;
  } else if (error.kind == ErrorKind::model) {
    out.code = Refusal::numbers;
  } else if (error.kind == ErrorKind::usage || error.kind == ErrorKind::peer) {
    out.code = Refusal::bad_request;
  }
  return out;
}

}  // namespace splitd

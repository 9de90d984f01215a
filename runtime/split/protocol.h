// Owns: the messages between a local end and a body as header text, both ways (net/PROTOCOL.md).
// Pings are the transport's (net/control.h), and so is "bytes". Unknown fields are ignored, unknown
// types refused; a field of the wrong kind or out of range is named with its value. Steps and rows
// are read and written without allocating once warm.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/engine/stage.h"
#include "runtime/model/weights.h"
#include "runtime/split/wire.h"

namespace splitd {

inline constexpr uint32_t kProtocolVersion = 1;

enum class MessageType : uint8_t { hello, welcome, step, rows, close, error };

// Why a peer refuses. What a client does about it follows from this alone.
enum class Refusal : uint8_t {
  bad_request,  // the message breaks the protocol
  version,      // protocol versions differ
  model,        // another model, or other weights
  layers,       // the body does not have these layers
  compute,      // the body cannot compute as asked (kv, compute, wire)
  full,         // a budget is used up; the message says which
  lost,         // rows that are asked for are gone: replay
  numbers,      // NaN or infinity, in what was sent or computed
  too_large,    // more than the limits that `welcome` states
  replaced,     // a newer connection has taken the session over
  draining,     // the body is about to stop
  idle,         // nothing was heard for too long
  slow,         // replies were not taken for too long
  internal,     // the body's own fault
};

[[nodiscard]] std::string_view refusal_name(Refusal refusal);
[[nodiscard]] std::string_view kv_name(KvType type);

struct HelloMessage {
  uint32_t version = kProtocolVersion;
  std::string fingerprint;           // 64 hex digits
  std::optional<LayerRange> layers;  // nothing: the body is asked what it has
  uint32_t d_model = 0;
  WireType wire = WireType::f16;
  std::optional<KvType> kv;   // nothing: whatever the body keeps
  std::optional<bool> exact;  // compute f32; nothing: as the body does
  uint32_t n_ctx = 0;         // 0: a question, no session is opened
  uint32_t max_pending = 0;
  std::string resume;  // 32 hex digits: this session goes on; empty: a new one
};

struct WelcomeMessage {
  uint32_t version = kProtocolVersion;
  std::string fingerprint;
  LayerRange layers;
  std::string arith;
  uint32_t d_model = 0;
  uint32_t n_ctx = 0;  // the session's; the most that one may have where none was opened
  uint32_t max_pending = 0;
  uint32_t window = kReplyWindow;
  uint32_t max_rows = 0;  // of one step
  bool bulk = false;      // steps may be bulk chunks
  uint32_t idle_s = 0;    // a session is forgotten after so long without a message
  std::string resume;     // empty: no session was opened
  bool resumed = false;   // the session was found again
};

struct RowsMessage {
  uint32_t seq = 0;
  uint32_t n_row = 0;
  std::span<const RowId> dead;
  double ms = 0;  // from the step's last byte in to these first bytes out
};

struct ErrorMessage {
  std::optional<uint32_t> seq;  // the step it answers; nothing: the connection ends
  Refusal code = Refusal::internal;
  std::string message;
  bool retry = false;  // the same may succeed later, or elsewhere
};

// Header texts, without "bytes". Each clears `json` first.
void write_hello(JsonWriter& json, const HelloMessage& message);
void write_welcome(JsonWriter& json, const WelcomeMessage& message);
void write_step(JsonWriter& json, const StageRequest& request);
void write_rows(JsonWriter& json, const RowsMessage& message);
void write_error(JsonWriter& json, const ErrorMessage& message);
void write_close(JsonWriter& json);

// One header after another, in the same memory. The header must live as long as what is read of it.
class MessageReader {
 public:
  [[nodiscard]] Status read(Json header);

  MessageType type() const { return type_; }
  std::string_view type_name() const;

  // Requires a message of that type. Spans hold until the next read().
  Result<HelloMessage> hello() const;
  Result<WelcomeMessage> welcome() const;
  Result<StageRequest> step();  // without rows
  Result<RowsMessage> rows();
  Result<ErrorMessage> error() const;

 private:
  class Fields;

  std::optional<Json> header_;
  MessageType type_ = MessageType::close;
  std::vector<int32_t> parents_;
  std::vector<RowId> dead_;
};

// The error that a peer's refusal is here: "lost: …" for what is_lost() looks for.
[[nodiscard]] Error error_of(const ErrorMessage& message);
// …and back, for what a stage refused.
[[nodiscard]] ErrorMessage message_of(const Error& error);

}  // namespace splitd

// Owns: the seam between who wants rows computed and where a range of layers runs, here or on
// another machine. Asynchronous: submit() accepts a request, next() gives the replies in order.
// Contract of requests and replies: DESIGN §3.
// submit(), next() and close() of one session may be called from different threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/timeline.h"

namespace splitd {

using SessionId = uint32_t;
using Deadline = std::chrono::steady_clock::time_point;

// Replies that a receiver keeps, and requests that may be in flight.
inline constexpr uint32_t kReplyWindow = 8;

// The most rows of one request: its copy is memory beside the model's.
inline constexpr uint32_t kMostFrameRows = 4096;

struct StageRequest {
  uint32_t seq = 0;  // grows by one, from 1
  uint32_t ack = 0;  // the last reply seen; 0: none
  TimelineRequest timeline;
  std::span<const float> rows = {};  // (n_row of the frame, d_model)
};

// Reused from call to call: vectors keep their memory.
struct StageReply {
  uint32_t seq = 0;
  std::optional<Error> error;  // the request was refused whole
  std::vector<RowId> ids;      // rows that were alive when the reply was made, in request order
  std::vector<RowId> dead;     // the others
  std::vector<float> rows;     // (ids.size(), d_model)

  // What it took, where that is known: computing there, and the messages both ways.
  double body_ms = 0;
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
};

// How an error says that rows are gone which the session needs: rewind to 0, or open another one,
// and replay.
inline constexpr std::string_view kLost = "lost";
inline bool is_lost(const Error& error) {
  return error.message.starts_with("lost: ");
}

// How next() says that the deadline came first: often, so in few enough letters that a string of
// them takes nothing from the heap.
inline constexpr std::string_view kNoReplyYet = "no reply yet";
[[nodiscard]] inline bool is_no_reply_yet(const Error& error) {
  return error.message == kNoReplyYet;
}
[[nodiscard]] inline Error no_reply_yet() {
  return failed(std::string(kNoReplyYet));
}

class Stage {
 public:
  virtual ~Stage() = default;

  // Reserves all that the session will ever need, or refuses with the numbers.
  virtual Result<SessionId> open(const KvShape& shape) = 0;

  // Copies what it needs. A request that breaks the contract is answered by a reply with an error;
  // submit itself fails only for a session that does not exist or more than kReplyWindow requests
  // in flight. Its keep or rewind kills rows at once, also those being computed.
  virtual Status submit(SessionId session, const StageRequest& request) = 0;

  // The reply after the last one given. no_reply_yet() when the deadline passes; it can still be
  // asked for then. A local stage computes in here, on the caller's thread.
  virtual Status next(SessionId session, Deadline deadline, StageReply& reply) = 0;

  // Whether frames may be bulk, and are then computed as such. Known once a session was opened.
  virtual bool takes_bulk() const { return false; }

  // Ends the session; its memory is free at once, or when what runs now has ended.
  virtual void close(SessionId session) = 0;
};

}  // namespace splitd

// Owns: one text as it grows on one model: the tokens so far, the sessions of head, body and tail
// that hold their keys and values, and the one loop that turns rows into tokens (DESIGN §7). A
// prompt that begins as the text before is not computed again.
// One thread drives a session; cancel() may be called from any other.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/decode/controller.h"
#include "runtime/decode/drafter.h"
#include "runtime/decode/pending_tree.h"
#include "runtime/decode/row_sketch.h"
#include "runtime/decode/sampler.h"
#include "runtime/engine/layer_run.h"
#include "runtime/engine/stage.h"

namespace splitd {

// Where a model's parts run. Whoever makes it keeps all three alive.
struct Pipeline {
  Backend* head = nullptr;  // the embedding, and the layers before the body's
  LayerRange head_layers;   // may be empty
  Stage* body = nullptr;
  Backend* tail = nullptr;  // the layers after the body's, the final norm and the head
  LayerRange tail_layers;

  // A prompt is sent in chunks of so many rows (0: as many as the head takes at once), so many of
  // them ahead of what came back.
  uint32_t chunk_rows = 0;
  uint32_t first_chunk_rows = 0;  // from here on they grow (0: all are alike)
  uint32_t chunks_in_flight = 3;  // at most kReplyWindow - 1: cancel() needs one

  // What the body takes: frames in flight below one another (at most kReplyWindow - 1), rows of one
  // request, rows beside the text.
  uint32_t most_frames = kReplyWindow - 1;
  uint32_t max_rows = kMostFrameRows;
  uint32_t max_pending = UINT32_MAX;

  // Ranks followers for drafters; nullptr: the best table of this machine.
  const kernels::KernelTable* table = nullptr;
};

struct GenerateOptions {
  uint32_t max_tokens = 1024;
  std::vector<uint32_t> stop_ids;  // any of them ends the text

  Drafter* drafter = nullptr;  // nullptr: one token a step
  // Decides how much is sent. nullptr: drafts as large as a frame, in so many equal parts, and so
  // many frames in flight.
  Controller* controller = nullptr;
  uint32_t most_parts = 1;
  uint32_t most_frames = 1;
};

enum class FinishReason : uint8_t { stop, length, callback };

struct Generated {
  std::vector<uint32_t> tokens;  // with the stop token
  FinishReason reason = FinishReason::length;
  uint32_t n_prompt = 0;
  uint32_t n_reused = 0;  // prompt tokens that were not computed again
  double prefill_ms = 0;
  double decode_ms = 0;

  uint64_t n_step = 0;        // frames that brought text, the rest of a draft counting with it
  uint64_t n_vain_frame = 0;  // frames to which the walk never came
  uint64_t n_rest_frame = 0;  // frames with the rest of a draft
  uint64_t n_row = 0;         // rows sent in all of them
  uint32_t most_frames = 0;   // that were in flight at once and could still become text
  double draft_ms = 0;
};

class Session {
 public:
  // Reserves everything for texts of up to shape.n_ctx rows.
  static Result<std::unique_ptr<Session>> open(const Pipeline& pipeline, const KvShape& shape);
  ~Session();

  // Continues `prompt`. on_token sees each token as it is known and answers whether to go on.
  // Before anything is computed it refuses an empty prompt, ids outside the vocabulary, and a
  // prompt that leaves no room, with both counts.
  Result<Generated> generate(std::span<const uint32_t> prompt, const GenerateOptions& options,
                             Sampler& sampler, const std::function<bool(uint32_t)>& on_token,
                             const ProgressFn& progress = {});

  // The logits (n_vocab each) of every row of `text`, in order: for measuring, not generating.
  Status score(std::span<const uint32_t> text,
               const std::function<Status(size_t row, std::span<float> logits)>& on_row);

  // Ends what runs now with ErrorKind::interrupted, within about the time of one layer. The session
  // stays usable.
  void cancel();

 private:
  struct Task {  // a text that is being generated
    Generated& out;
    const GenerateOptions& options;
    Sampler& sampler;
    const std::function<bool(uint32_t)>& on_token;
    bool more = true;

    bool accept(uint32_t token);
  };
  // A body that forgets a session this often in a row will not keep it.
  static constexpr int kMostRecoveries = 5;
  static constexpr size_t kMostStudied = 256;  // rows of a prompt, the last ones
  using OnHidden = std::function<Status(size_t first_row, std::span<const float> hidden)>;

  Session(const Pipeline& pipeline, const KvShape& shape, LayerRun head, LayerRun tail);

  uint32_t d_model() const { return pipeline_.head->config().d_model; }
  uint32_t n_vocab() const { return pipeline_.head->config().n_vocab; }
  Status check_prompt(std::span<const uint32_t> prompt) const;
  Status begin(std::span<const uint32_t> prompt, uint32_t& n_reused);
  Status end(Status status);
  Status settle();
  Status reopen();
  Status recover();
  Status try_recover();
  Status replay(LayerRun& head, size_t n_token);
  Status replay_chunk(LayerRun& head, std::span<const uint32_t> tokens);
  Status replay_frame(LayerRun& head, PendingFrame& frame);
  Status cut_to(uint32_t n_token);
  Status send(const TimelineRequest& request, std::span<const float> rows);
  Status receive();
  Status receive_or_recover();
  bool in_flight();
  uint32_t chunk_rows() const;
  bool is_bulk(size_t position) const;
  uint32_t cut_chunk(size_t position, size_t n) const;
  uint32_t count_unread(size_t position, uint32_t n) const;
  void mark_done(size_t n_token);
  Status rewind_ends(uint32_t n_token);
  Status rewind_all(uint32_t n_token);
  Status prefill(std::span<const uint32_t> tokens, const ProgressFn& progress,
                 const OnHidden& on_hidden);
  Status embed(std::span<const uint32_t> tokens);
  Status send_chunk(std::span<const uint32_t> tokens);
  Status finish_chunk(uint32_t n_row);

  // Whether there is time to fill while the body answers.
  bool is_far() const { return pipeline_.most_frames > 1; }

  // session_decode.cpp
  Status decode(Task& task);
  Status draft(Task& task, uint32_t base, uint32_t most);
  Status check_draft(const Drafter& drafter) const;
  void trim_draft(uint32_t position);
  Status fill(Task& task);
  Status send_first(Task& task);
  uint32_t most_drafted(const Task& task) const;
  DraftParts choose_parts(const Task& task) const;
  Result<bool> send_below_leaf(Task& task);
  RowId hang(const PendingFrame& frame, RowId PendingRow::*id, RowId text_end);
  Status send_frame(Task& task, PendingFrame& frame, std::chrono::steady_clock::time_point start);
  Status take_reply(Task& task);
  Status walk(Task& task);
  Status keep_path(uint32_t row, int32_t child);
  Status finish();

  // session_verify.cpp
  std::span<float> logits_of(const PendingRow& row);
  void choose_wave(Task& task, uint32_t row);
  Status evaluate(Task& task, uint32_t row);
  void rank(const PendingRow& row);
  void rank(std::span<const float> logits, size_t at);
  SeenRow seen_row(const PendingRow& row);
  void show(Task& task, const PendingFrame& frame);
  void show_frames(Task& task, uint32_t row, int32_t child);

  // session_study.cpp
  void keep_prompt(std::span<const float> hidden);
  void use_waiting(Task& task);
  bool study(Task& task, std::chrono::steady_clock::time_point until);

  bool go_on() const { return !cancelled_.load(std::memory_order_relaxed); }

  Pipeline pipeline_;
  KvShape shape_;
  LayerRun head_;
  LayerRun tail_;
  SessionId body_ = 0;
  bool has_window_ = false;
  bool broken_ = false;   // body and ends may disagree: settle()
  bool refused_ = false;  // the body refused a request

  std::mutex submitting_;  // guards what follows, body_, and the order of submits against cancel()
  uint32_t seq_ = 0;       // the last request sent
  uint32_t acked_ = 0;     // the last reply seen
  uint32_t n_done_ = 0;    // rows that body and ends have committed and computed
  bool running_ = false;
  std::atomic<bool> cancelled_{false};  // written under submitting_

  std::vector<uint32_t> tokens_;  // of the committed rows of the ends
  std::vector<RowId> body_ids_;   // of the same rows
  size_t first_read_ = 0;         // of the prompt: nobody reads what comes out of rows before it
  std::deque<uint32_t> chunks_;   // rows of each chunk of the prompt that has not come back
  bool takes_bulk_ = false;       // the body, when the session was opened
  std::vector<uint32_t> bulk_;    // where in tokens_ bulk chunks begin; ascending
  uint32_t high_ = 0;             // rows computed since the text last started over
  RowId next_body_id_ = 0;
  bool rewind_due_ = false;  // the body has not been told that its text is no longer than tokens_

  PendingTree pending_;
  std::chrono::steady_clock::time_point dead_reply_;  // when the last one came
  std::vector<uint32_t> text_;  // tokens_, and what is known beyond: the text as it is read
  Draft draft_;
  uint32_t end_position_ = 0;  // rows from here on could not add a token
  // What the body has not been told: that the text goes to a row, which hangs in pending_ as its
  // root or else is the last of tokens_.
  struct {
    bool is_due = false;
    bool is_root = false;
    bool alone = false;
    RowId head_id = 0;
  } keep_;
  std::vector<int32_t> parents_;  // of a frame's rows
  std::vector<uint32_t> ids_;     // tokens to embed
  StageReply reply_;              // its rows: hidden states of the frame at hand, from the body
  std::vector<float> rows_;       // on their way through head or tail
  std::vector<uint32_t> depths_;  // of a draft's rows
  std::vector<uint32_t> wave_;    // rows that the tail sees together
  std::vector<float> path_;       // probabilities of those on the likeliest path
  std::vector<float> logits_;     // of the frame's rows that the tail has seen, in that order
  uint32_t n_logits_ = 0;

  // What drafters are shown.
  uint32_t n_top_ = 0;
  std::vector<uint32_t> top_;  // n_top_ for each row of logits_
  std::vector<float> top_probability_;
  SeenRow base_;  // the row that the next frame hangs from
  std::vector<uint32_t> base_top_;
  std::vector<float> base_top_probability_;
  std::vector<float> probabilities_;  // of one row, by token
  std::vector<SeenRow> seen_;
  TokenSketches token_sketches_;
  bool has_sketches_ = false;    // the drafter wants them
  std::vector<float> sketches_;  // kSketch for each row of logits_
  std::vector<float> base_sketch_;

  // The last rows of the prompt as the tail left them, for drafters; those before n_unstudied_
  // have not been shown.
  std::vector<float> prompt_hidden_;
  size_t n_unstudied_ = 0;
  std::vector<float> study_rows_, study_logits_, study_sketches_;
};

}  // namespace splitd

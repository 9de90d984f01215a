// Owns: a whole model ready to turn prompts into text on this machine: tokenizer, chat template and
// the session of the text at hand, beside the model itself. One thread uses it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/decode/session.h"
#include "runtime/engine/local_stage.h"
#include "runtime/model/chat/chat_template.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tools/generate/local_model.h"
#include "tools/generate/speculation.h"

namespace splitd::cli {

struct Message {
  std::string role;
  std::string content;
};

// What the network between the parts of a model has carried so far.
struct NetworkUse {
  std::optional<double> rtt_ms;
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
  uint64_t n_reconnect = 0;
  uint64_t n_step = 0;  // that were alone in flight; of those:
  double step_ms = 0;   // from handing a step over to having its reply
  double body_ms = 0;   // …of which the body says it took
};

// Where the parts of a model are computed.
struct ModelParts {
  std::vector<ModelPart> here;    // what is read ahead
  std::unique_ptr<Backend> head;  // the embedding, and the layers before the body's
  std::unique_ptr<Backend> tail;  // the layers after it, and the head; nothing: `head` has them
  std::unique_ptr<Stage> body;
  Pipeline pipeline;                     // of these
  std::function<NetworkUse()> network;   // where there is one
  std::function<void()> interrupt_open;  // ends a body's open() from another thread
};

class TextModel {
 public:
  // The most rows of one step, the last token's among them.
  static constexpr uint32_t kMostStepRows = 32;
  // …and of a session: several steps may be in flight.
  static constexpr uint32_t kMaxPending = 4 * kMostStepRows;

  // Touches no weights yet. Without a tokenizer only ids can be used.
  static Result<std::unique_ptr<TextModel>> open(const std::string& path,
                                                 const EngineOptions& options);
  // …with its parts wherever `place` puts them.
  using Place = std::function<Result<ModelParts>(LocalModel& model)>;
  static Result<std::unique_ptr<TextModel>> open(const std::string& path,
                                                 const EngineOptions& options, const Place& place);

  const ModelConfig& config() const { return model_->config(); }
  const std::string& path() const { return model_->files().path(); }
  LocalModel& local() { return *model_; }
  const Backend& backend() const { return *parts_.head; }
  Result<const Tokenizer*> tokenizer();
  Result<const ChatTemplate*> chat_template();

  // What guesses ahead, as the command's decoder_flags() say.
  Result<Speculation*> speculation(Context& context);

  // A prompt as ids: of messages by the model's template, of raw text, both as the tokenizer says.
  Result<std::vector<uint32_t>> chat_ids(const std::vector<Message>& messages, int64_t now);
  Result<std::vector<uint32_t>> raw_ids(std::string_view text);

  // Reads all weights into memory, once.
  Status read_ahead(const ProgressFn& progress);
  double load_ms() const { return load_ms_; }  // that opening and reading ahead took

  // From now on sessions have room to spare: a conversation grows, and a session that is replaced
  // computes all of it again.
  void expect_growth() { grows_ = true; }

  // The session, with room for the prompt and as much of `n_more` as the model or --ctx allows. One
  // that is too small is replaced. Refuses a prompt that does not fit, with both counts.
  Result<Session*> session(uint64_t n_prompt, uint64_t n_more);
  // Ends a session() that waits for another machine. From any thread.
  void interrupt() const {
    if (parts_.interrupt_open) parts_.interrupt_open();
  }
  std::optional<NetworkUse> network() const {
    return parts_.network ? std::optional(parts_.network()) : std::nullopt;
  }

 private:
  TextModel() = default;
  Status open_session(uint32_t n_row);
  bool is_long(uint64_t n_row) const;

  std::unique_ptr<LocalModel> model_;
  KvType kv_ = KvType::f16;
  bool fixed_room_ = false;  // --ctx
  bool grows_ = false;
  bool is_read_ = false;
  double load_ms_ = 0;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  ModelParts parts_;
  std::unique_ptr<Speculation> speculation_;
  std::unique_ptr<Session> session_;
  uint32_t session_rows_ = 0;
};

}  // namespace splitd::cli

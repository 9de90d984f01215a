// Owns: a whole model ready to turn prompts into text on this machine: tokenizer, chat template and
// the session of the text at hand, beside the model itself. One thread uses it.
#pragma once

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

namespace splitd::cli {

struct Message {
  std::string role;
  std::string content;
};

class TextModel {
 public:
  // The most rows of one step, the last token's among them.
  static constexpr uint32_t kMostStepRows = 32;

  // Touches no weights yet. Without a tokenizer only ids can be used.
  static Result<std::unique_ptr<TextModel>> open(const std::string& path,
                                                 const EngineOptions& options);

  const ModelConfig& config() const { return model_->config(); }
  const std::string& path() const { return model_->files().path(); }
  LocalModel& local() { return *model_; }
  const Backend& backend() const { return *backend_; }
  Result<const Tokenizer*> tokenizer();
  Result<const ChatTemplate*> chat_template();

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
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LocalStage> body_;
  std::unique_ptr<Session> session_;
  uint32_t session_rows_ = 0;
};

}  // namespace splitd::cli

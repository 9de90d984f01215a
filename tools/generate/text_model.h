// Owns: a whole model ready to turn prompts into text on this machine: files, tokenizer, chat
// template, threads, backend and the session of the text at hand. One thread uses it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/decode/session.h"
#include "runtime/engine/cpu_backend.h"
#include "runtime/engine/local_stage.h"
#include "runtime/engine/thread_pool.h"
#include "runtime/model/chat/chat_template.h"
#include "runtime/model/model_files.h"
#include "runtime/model/tokenizer/tokenizer.h"
#include "tools/generate/options.h"

namespace splitd::cli {

struct Message {
  std::string role;
  std::string content;
};

class TextModel {
 public:
  // Reads weights ahead, telling progress. Without a tokenizer only ids can be used.
  static Result<std::unique_ptr<TextModel>> open(const std::string& path,
                                                 const EngineOptions& options,
                                                 const ProgressFn& progress);

  const ModelConfig& config() const { return files_->config(); }
  Backend& backend() { return *backend_; }
  Result<const Tokenizer*> tokenizer();

  // A prompt as ids: of messages by the model's template, of raw text, both as the tokenizer says.
  Result<std::vector<uint32_t>> chat_ids(const std::vector<Message>& messages, int64_t now);
  Result<std::vector<uint32_t>> raw_ids(std::string_view text);

  // The session, with room for n_row rows (or what --ctx says). One that is too small is replaced.
  Result<Session*> session(uint64_t n_row);

 private:
  TextModel() = default;

  EngineOptions options_;
  std::string path_;
  std::optional<ModelFiles> files_;
  ModelWeights weights_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LocalStage> body_;
  std::unique_ptr<Session> session_;
  uint32_t session_rows_ = 0;
};

}  // namespace splitd::cli

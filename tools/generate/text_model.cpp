#include "tools/generate/text_model.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/select.h"

namespace splitd::cli {

static constexpr uint32_t kMaxPending = 64;  // what a draft of one step may hold, twice

Result<std::unique_ptr<TextModel>> TextModel::open(const std::string& path,
                                                   const EngineOptions& options,
                                                   const ProgressFn& progress) {
  auto model = std::unique_ptr<TextModel>(new TextModel);
  model->options_ = options;
  model->path_ = path;
  SPLITD_ASSIGN(model->files_, ModelFiles::open(path));
  const ModelFiles& files = *model->files_;
  const LayerRange all{0, files.config().n_layer};
  SPLITD_ASSIGN(model->weights_, files.weights(all, true, true));
  for (uint32_t layer = 0; layer < all.end; ++layer) {
    files.advise_layer(layer, MappedFile::Advice::will_need);
    if (progress && !progress({"weights", layer + 1, all.end})) return interrupted_error();
  }
  const char* isa = std::getenv("SPLITD_ISA");
  SPLITD_ASSIGN(const kernels::KernelTable* table,
                kernels::select_table(isa == nullptr ? "" : isa));
  model->pool_ = std::make_unique<ThreadPool>(options.n_thread);
  SPLITD_ASSIGN(model->backend_, make_cpu_backend(files.config(), model->weights_,
                                                  {table, model->pool_.get(), options.exact}));
  model->body_ = std::make_unique<LocalStage>(*model->backend_);
  return model;
}

Result<const Tokenizer*> TextModel::tokenizer() {
  if (!tokenizer_) {
    if (files_->tokenizer_path().empty()) {
      return model_error(path_ + ": no tokenizer here; --ids takes token ids");
    }
    SPLITD_ASSIGN(tokenizer_, Tokenizer::open(files_->tokenizer_path()));
  }
  return &*tokenizer_;
}

Result<std::vector<uint32_t>> TextModel::chat_ids(const std::vector<Message>& messages,
                                                  int64_t now) {
  SPLITD_ASSIGN(const Tokenizer* tokenizer, this->tokenizer());
  if (!template_) {
    SPLITD_ASSIGN(template_, ChatTemplate::open(files_->tokenizer_path()));
  }
  JsonWriter json;
  json.begin_object().key("messages").begin_array();
  for (const Message& message : messages) {
    json.begin_object().field("role", std::string_view(message.role));
    json.field("content", std::string_view(message.content)).end_object();
  }
  json.end_array().field("add_generation_prompt", true).end_object();
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(json.take(), {.max_bytes = size_t{1} << 30}));
  RenderOptions options;
  options.now = now;
  SPLITD_ASSIGN(const MarkedText prompt, template_->render(doc.root(), options));
  EncodeOptions encode;
  encode.add_special = false;
  encode.literal = prompt.literal;
  return tokenizer->encode(prompt.text, encode);
}

Result<std::vector<uint32_t>> TextModel::raw_ids(std::string_view text) {
  SPLITD_ASSIGN(const Tokenizer* tokenizer, this->tokenizer());
  return tokenizer->encode(text);
}

Result<Session*> TextModel::session(uint64_t n_row) {
  if (session_ != nullptr && n_row <= session_rows_) return session_.get();
  if (session_ != nullptr && options_.n_ctx != 0) return session_.get();  // it will say what fits
  const uint64_t most = config().n_ctx;
  uint64_t rows = options_.n_ctx != 0 ? options_.n_ctx : std::min(n_row, most);
  if (rows > most) {
    return usage_error("--ctx: " + std::to_string(rows) + "; the model was made for " +
                       std::to_string(most));
  }
  session_.reset();
  KvShape shape{static_cast<uint32_t>(rows), kMaxPending, options_.kv};
  SPLITD_ASSIGN(
      session_,
      Session::open({backend_.get(), {0, 0}, body_.get(), backend_.get(), {0, 0}}, shape));
  session_rows_ = shape.n_ctx;
  return session_.get();
}

}  // namespace splitd::cli

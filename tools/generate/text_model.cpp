#include "tools/generate/text_model.h"

#include <algorithm>
#include <chrono>

#include "runtime/base/json.h"
#include "runtime/base/memory.h"
#include "runtime/engine/kv_room.h"

namespace splitd::cli {

static constexpr uint64_t kFirstRoom = 4096;  // rows for a text that grows

using Clock = std::chrono::steady_clock;

static double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

static Result<ModelParts> all_here(LocalModel& model) {
  ModelParts parts;
  parts.here = {model.whole()};
  SPLITD_ASSIGN(parts.head, model.backend(model.whole()));
  parts.body = std::make_unique<LocalStage>(*parts.head);
  parts.pipeline.head = parts.pipeline.tail = parts.head.get();
  parts.pipeline.body = parts.body.get();
  parts.pipeline.most_frames = 1;  // nothing is gained by sending ahead: it is computed here
  parts.pipeline.table = &model.table();
  return parts;
}

Result<std::unique_ptr<TextModel>> TextModel::open(const std::string& path,
                                                   const EngineOptions& options) {
  return open(path, options, all_here);
}

Result<std::unique_ptr<TextModel>> TextModel::open(const std::string& path,
                                                   const EngineOptions& options,
                                                   const Place& place) {
  const Clock::time_point start = Clock::now();
  auto model = std::unique_ptr<TextModel>(new TextModel);
  model->kv_ = options.kv;
  model->fixed_room_ = options.n_ctx != 0;
  SPLITD_ASSIGN(model->model_, LocalModel::open(path, options));
  if (Result<uint32_t> room = model->model_->context(0); !room) return room.take_error();
  SPLITD_ASSIGN(model->parts_, place(*model->model_));
  model->load_ms_ = ms_since(start);
  return model;
}

Result<const Tokenizer*> TextModel::tokenizer() {
  if (!tokenizer_) {
    const std::string& from = model_->files().tokenizer_path();
    if (from.empty()) return model_error(path() + ": no tokenizer here; --ids takes token ids");
    SPLITD_ASSIGN(tokenizer_, Tokenizer::open(from));
  }
  return &*tokenizer_;
}

Result<Speculation*> TextModel::speculation(Context& context) {
  if (speculation_ == nullptr) {
    const Result<const Tokenizer*> known = tokenizer();
    SPLITD_ASSIGN(speculation_, Speculation::make(context, *model_, known ? *known : nullptr,
                                                  parts_.pipeline, kMostStepRows));
  }
  return speculation_.get();
}

Result<const ChatTemplate*> TextModel::chat_template() {
  if (!template_) {
    if (Result<const Tokenizer*> known = tokenizer(); !known) return known.take_error();
    SPLITD_ASSIGN(template_, ChatTemplate::open(model_->files().tokenizer_path()));
  }
  return &*template_;
}

Result<std::vector<uint32_t>> TextModel::chat_ids(const std::vector<Message>& messages,
                                                  int64_t now) {
  SPLITD_ASSIGN(const ChatTemplate* chat, chat_template());
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
  SPLITD_ASSIGN(const MarkedText prompt, chat->render(doc.root(), options));
  EncodeOptions encode;
  encode.add_special = false;
  encode.literal = prompt.literal;
  return tokenizer_->encode(prompt.text, encode);
}

Result<std::vector<uint32_t>> TextModel::raw_ids(std::string_view text) {
  SPLITD_ASSIGN(const Tokenizer* tokenizer, this->tokenizer());
  return tokenizer->encode(text);
}

Status TextModel::read_ahead(const ProgressFn& progress) {
  if (is_read_) return {};
  const Clock::time_point start = Clock::now();
  for (const ModelPart& part : parts_.here) SPLITD_TRY(model_->read_ahead(part, progress));
  is_read_ = true;
  load_ms_ += ms_since(start);
  return {};
}

// Whether a session of so many rows takes the long factors of a longrope.
bool TextModel::is_long(uint64_t n_row) const {
  const std::vector<RopeConfig>& ropes = config().ropes;
  return std::any_of(ropes.begin(), ropes.end(), [&](const RopeConfig& rope) {
    return rope.kind == RopeKind::longrope && n_row > rope.original_ctx;
  });
}

Status TextModel::open_session(uint32_t n_row) {
  session_.reset();
  const uint32_t max_pending = std::min(kMaxPending, parts_.pipeline.max_pending);
  // Both ends together, before either reserves anything: memory that no row has reached yet counts
  // as available. A GPU refuses by itself what it has no room for.
  std::vector<const Backend*> here = {parts_.head.get()};
  if (parts_.tail != nullptr) here.push_back(parts_.tail.get());
  if (!model_->device().is_cuda) {
    SPLITD_TRY(check_kv_room(here, {n_row, max_pending, kv_}, available_memory_bytes()));
  }
  SPLITD_ASSIGN(session_, Session::open(parts_.pipeline, {n_row, max_pending, kv_}));
  session_rows_ = n_row;
  return {};
}

Result<Session*> TextModel::session(uint64_t n_prompt, uint64_t n_more) {
  SPLITD_ASSIGN(const uint32_t rows, model_->context(n_prompt + n_more));
  if (n_prompt > rows) {
    return usage_error("the prompt has " + std::to_string(n_prompt) +
                       " tokens; the context has room for " + std::to_string(rows));
  }
  // What a text becomes must not depend on the room that an earlier one needed.
  if (session_ != nullptr && rows <= session_rows_ && is_long(rows) == is_long(session_rows_)) {
    return session_.get();
  }
  if (!fixed_room_ && grows_) {
    const uint64_t wanted = std::max<uint64_t>({rows, kFirstRoom, 2 * uint64_t{session_rows_}});
    SPLITD_ASSIGN(const uint32_t spare, model_->context(wanted));
    if (is_long(spare) == is_long(rows) && open_session(spare).ok()) return session_.get();
  }
  SPLITD_TRY(open_session(rows));
  return session_.get();
}

}  // namespace splitd::cli

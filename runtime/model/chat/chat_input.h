// Owns: what transformers does to a request around the template itself: null keys are dropped,
// reasoning is copied under the names that templates read, tools and documents are always defined,
// and continue_final_message cuts the text behind the final message.
#pragma once

#include <string_view>

#include "runtime/base/json.h"
#include "runtime/model/chat/chat_template.h"
#include "runtime/model/chat/interpreter.h"
#include "runtime/model/marked_text.h"

namespace splitd::jinja {

struct ChatRequest {
  const Text* continued = nullptr;  // the text to continue, where the request asks for that
};

// Fills the context of `in`. A request that makes no sense fails as the template would.
ChatRequest read_chat_input(Interpreter& in, Json input, const RenderOptions& options,
                            std::string_view source,
                            const std::map<std::string, std::string>& variables);

// Cuts what the template wrote behind the final message.
void finish_chat_text(const ChatRequest& request, MarkedText& text);

}  // namespace splitd::jinja

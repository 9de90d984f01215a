// Any bytes as a message's header: what is accepted is within its ranges, and what is written of it
// reads the same again.
#include <cstdlib>
#include <string_view>

#include "runtime/split/protocol.h"

using namespace splitd;

static void check(bool good) {
  if (!good) std::abort();
}

static void check_step(MessageReader& reader) {
  Result<StageRequest> step = reader.step();
  if (!step) return;
  check(step->seq != 0);
  const std::optional<Frame>& frame = step->timeline.append;
  if (frame) check(frame->parents.empty() || frame->parents.size() == frame->n_row);
  JsonWriter json;
  write_step(json, *step);
  JsonDoc doc;
  MessageReader again;
  check(doc.read_view(json.text()).ok() && again.read(doc.root()).ok());
  const Result<StageRequest> back = again.step();
  check(back && back->seq == step->seq && back->ack == step->ack &&
        back->timeline.edit == step->timeline.edit &&
        back->timeline.append.has_value() == frame.has_value());
  if (frame) {
    check(back->timeline.append->first == frame->first &&
          back->timeline.append->base == frame->base &&
          back->timeline.append->n_row == frame->n_row);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  JsonDoc doc;
  if (!doc.read_view({reinterpret_cast<const char*>(data), size}).ok()) return 0;
  MessageReader reader;
  if (!doc.root().is_object() || !reader.read(doc.root()).ok()) return 0;
  switch (reader.type()) {
    case MessageType::hello:
      if (const auto hello = reader.hello()) {
        check(hello->resume.empty() || hello->resume.size() == 32);
      }
      break;
    case MessageType::welcome:
      if (const auto welcome = reader.welcome()) {
        check(welcome->layers.begin <= welcome->layers.end && welcome->window > 0);
      }
      break;
    case MessageType::step:
      check_step(reader);
      break;
    case MessageType::rows:
      (void)reader.rows();
      break;
    case MessageType::error:
      (void)reader.error();
      break;
    case MessageType::close:
      break;
  }
  return 0;
}

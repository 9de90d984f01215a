#include "tools/network/ends.h"

#include <algorithm>
#include <utility>

#include "runtime/split/remote_stage.h"
#include "tools/generate/cancel_watch.h"

namespace splitd::cli {
namespace {

// Small chunks fill the line sooner, and several must be on it: an answer takes a round trip.
constexpr uint32_t kChunkRows = 128;
constexpr uint32_t kFirstChunkRows = 8;

// The body's layers: what is left by the ends as the user wants them, or as the body offers.
Result<LayerRange> body_layers(const WelcomeMessage& offer, const BodyChoice& choice,
                               uint32_t n_layer) {
  if (choice.head && choice.tail) return layers_between(*choice.head, *choice.tail, n_layer);
  const std::string offered = "the body offers layers " + std::to_string(offer.layers.begin) + ":" +
                              std::to_string(offer.layers.end) + " of " + std::to_string(n_layer);
  if (offer.layers.end > n_layer) return peer_error(offered);
  const auto overlaps = [&](const char* flag, uint32_t n) {
    return peer_error(std::string(flag) + " " + std::to_string(n) +
                      " takes all of them: " + offered);
  };
  if (choice.head && *choice.head >= offer.layers.end) return overlaps("--head", *choice.head);
  if (choice.tail && *choice.tail >= n_layer - offer.layers.begin) {
    return overlaps("--tail", *choice.tail);
  }
  return layers_between(choice.head.value_or(offer.layers.begin),
                        choice.tail.value_or(n_layer - offer.layers.end), n_layer);
}

NetworkUse use_of(const RemoteTraffic& traffic) {
  return {.rtt_ms = traffic.rtt_ms,
          .bytes_up = traffic.bytes_up,
          .bytes_down = traffic.bytes_down,
          .n_reconnect = traffic.n_reconnect,
          .n_step = traffic.n_step,
          .step_ms = traffic.step_ms,
          .body_ms = traffic.body_ms};
}

Result<ModelParts> place_ends(Context& context, LocalModel& model, const BodyChoice& choice) {
  const uint32_t n_layer = model.config().n_layer;
  SPLITD_ASSIGN(const Sha256Digest fingerprint, model.files().fingerprint());
  SPLITD_ASSIGN(
      std::unique_ptr<RemoteStage> body,
      RemoteStage::create(model.table(), hex(fingerprint), model.config().d_model, choice.remote));
  // Who says all layers asks too: for the body's limits.
  const Result<WelcomeMessage> offer = [&] {
    const CancelWatch watch(context, [&] { body->interrupt(); });
    return body->ask();
  }();
  if (!offer) return offer.error();
  SPLITD_ASSIGN(const LayerRange layers, body_layers(*offer, choice, n_layer));
  body->set_layers(layers);
  if (layers.begin == 0) {
    context.log().warning("--head 0: the body sees the embeddings, which are the words themselves");
  }

  ModelParts parts;
  const ModelPart head{{0, layers.begin}, true, false}, tail{{layers.end, n_layer}, false, true};
  parts.here = {head, tail};
  SPLITD_ASSIGN(parts.head, model.backend(head));
  SPLITD_ASSIGN(parts.tail, model.backend(tail));
  RemoteStage* const remote = body.get();
  parts.body = std::move(body);
  // One request more must find room: the one that cancels.
  const uint32_t most_in_flight = std::clamp(offer->window, 2u, kReplyWindow) - 1;
  parts.pipeline = {.head = parts.head.get(),
                    .head_layers = head.layers,
                    .body = remote,
                    .tail = parts.tail.get(),
                    .tail_layers = tail.layers,
                    .chunk_rows = std::min(kChunkRows, offer->max_rows),
                    .first_chunk_rows = kFirstChunkRows,
                    .chunks_in_flight = most_in_flight,
                    .most_frames = most_in_flight,
                    .max_rows = std::min(offer->max_rows, kMostFrameRows),
                    .max_pending = offer->max_pending,
                    .table = &model.table()};
  parts.network = [remote] { return use_of(remote->traffic()); };
  parts.interrupt_open = [remote] { remote->interrupt(); };
  return parts;
}

}  // namespace

Result<std::unique_ptr<TextModel>> open_ends(Context& context, const std::string& path,
                                             const EngineOptions& engine,
                                             const BodyChoice& choice) {
  return TextModel::open(path, engine,
                         [&](LocalModel& model) { return place_ends(context, model, choice); });
}

}  // namespace splitd::cli

#include "runtime/decode/drafters/model_drafter.h"

#include <algorithm>
#include <utility>

#include "kernels/select.h"
#include "runtime/decode/drafters/guess.h"
#include "runtime/engine/cpu_kv.h"

namespace splitd {

using Edit = TimelineRequest::Edit;

static constexpr size_t kPiece = 256;  // rows of a prompt at a time

// Biases of tokens that are not guessed do no harm by their absence.
static SamplingOptions within_vocabulary(SamplingOptions sampling, uint32_t n_vocab) {
  std::erase_if(sampling.logit_bias, [&](const auto& bias) { return bias.first >= n_vocab; });
  return sampling;
}

static uint32_t common_vocabulary(const DraftModel& model) {
  return std::min(model.n_vocab, model.head->config().n_vocab);
}

ModelDrafter::ModelDrafter(std::string name, const DraftModel& model,
                           const SamplingOptions& sampling)
    : name_(std::move(name)),
      model_(model),
      sampling_(within_vocabulary(sampling, common_vocabulary(model))),
      sampler_(sampling_, common_vocabulary(model)) {
  if (model_.table == nullptr) model_.table = kernels::runnable_tables().back();
  for (const LayerConfig& layer : model.head->config().layers) {
    has_window_ = has_window_ || layer.window != 0;
  }
  tokens_.reserve(model.n_ctx);
  sampled_.reserve(model.n_ctx);
  logits_.resize(model.head->config().n_vocab);
  shares_.resize(n_vocab());
  nodes_.reserve(kMostDepth * kRanks);
  for (Sent& sent : sent_) sent.buckets.reserve(kMostDepth * kRanks);
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    for (size_t sure = 0; sure < kSures; ++sure) {
      const float share = (static_cast<float>(sure) + 0.5f) / kSures;
      // The drawn token is likelier than its share says; others what they say, or less.
      const float prior = rank == 0 ? 0.3f + 0.65f * share : 0.7f * share;
      rates_[rank * kSures + sure] = Rate(prior, 6);
    }
  }
}

Result<std::unique_ptr<ModelDrafter>> ModelDrafter::open(std::string name, const DraftModel& model,
                                                         const SamplingOptions& sampling) {
  auto drafter = std::unique_ptr<ModelDrafter>(new ModelDrafter(std::move(name), model, sampling));
  for (const DraftModel::Part& part : model.parts) {
    Result<LayerRun> run = LayerRun::open(*part.backend, part.layers, {model.n_ctx, 1, model.kv});
    if (!run) return run.take_error().within("drafter " + drafter->name_);
    drafter->runs_.push_back(std::move(*run));
  }
  return drafter;
}

uint32_t ModelDrafter::n_vocab() const {
  return common_vocabulary(model_);
}

void ModelDrafter::sample_like(const SamplingOptions& sampling) {
  sampling_ = within_vocabulary(sampling, n_vocab());
  sampler_ = Sampler(sampling_, n_vocab());
  sampled_.clear();
}

void ModelDrafter::begin(std::span<const uint32_t> prompt) {
  n_prompt_ = prompt.size();
}

// The sampler's penalties are over the text before a position.
void ModelDrafter::follow_sampler(std::span<const uint32_t> text) {
  const auto same = std::mismatch(sampled_.begin(), sampled_.end(), text.begin(), text.end());
  auto n_same = static_cast<size_t>(same.first - sampled_.begin());
  if (n_told_prompt_ != n_prompt_) n_same = 0;
  while (sampled_.size() > n_same) {
    sampler_.pop(sampled_.back(), sampled_.size() > n_told_prompt_);
    sampled_.pop_back();
  }
  n_told_prompt_ = n_prompt_;
  for (const uint32_t token : text.subspan(n_same)) {
    sampled_.push_back(token);
    sampler_.push(token, sampled_.size() > n_prompt_);
  }
}

Status ModelDrafter::rewind(size_t n) {
  if (n == tokens_.size()) return {};
  // A ring that has gone on far has lost what a row there would look back at.
  if (has_window_ && high_ - n > kWindowSlack) n = 0;
  SPLITD_TRY(rewind_runs(n));
  tokens_.resize(n);
  if (n == 0) high_ = 0;
  return {};
}

Status ModelDrafter::rewind_runs(size_t n) {
  TimelineRequest request;
  request.edit = Edit::rewind;
  request.rewind = static_cast<uint32_t>(n);
  for (LayerRun& run : runs_) SPLITD_TRY(run.run(request, nullptr, [] { return true; }));
  return {};
}

// Computes rows for more of the text, and the logits after the last.
Status ModelDrafter::append(std::span<const uint32_t> tokens) {
  const size_t d = model_.head->config().d_model;
  while (!tokens.empty()) {
    const std::span<const uint32_t> piece = tokens.first(std::min(tokens.size(), kPiece));
    tokens = tokens.subspan(piece.size());
    if (hidden_.size() < piece.size() * d) hidden_.resize(piece.size() * d);
    model_.embedding->embed(piece, hidden_.data());
    for (LayerRun& run : runs_) {
      TimelineRequest request;
      request.append = Frame{.first = run.timeline().next_id(),
                             .base = run.timeline().last_committed(),
                             .n_row = static_cast<uint32_t>(piece.size()),
                             .commit = true,
                             .n_unread = static_cast<uint32_t>(piece.size()) - 1};
      SPLITD_TRY(run.run(request, hidden_.data(), [this] {
        return cancelled_ == nullptr || !cancelled_->load(std::memory_order_relaxed);
      }));
    }
    tokens_.insert(tokens_.end(), piece.begin(), piece.end());
    high_ = std::max(high_, tokens_.size());
    if (!tokens.empty()) continue;
    float* last = hidden_.data() + (piece.size() - 1) * d;
    model_.head->norm({last, d}, last);
    model_.head->project({last, d}, logits_.data());
  }
  return {};
}

Status ModelDrafter::follow(std::span<const uint32_t> text) {
  // What failed half way has left the parts at odds.
  if (std::exchange(is_broken_, true)) {
    tokens_.clear();
    high_ = 0;
    SPLITD_TRY(rewind_runs(0));
  }
  const auto same = std::mismatch(tokens_.begin(), tokens_.end(), text.begin(), text.end());
  // The last token is computed again where it is known: its logits are gone.
  const size_t n_same =
      std::min<size_t>(static_cast<size_t>(same.first - tokens_.begin()), text.size() - 1);
  SPLITD_TRY(rewind(n_same));
  SPLITD_TRY(append(text.subspan(tokens_.size())));
  is_broken_ = false;
  return {};
}

size_t ModelDrafter::bucket(uint32_t rank, float share) {
  const auto sure = static_cast<size_t>(std::clamp(share, 0.0f, 1.0f) * kSures);
  return rank * kSures + std::min(sure, kSures - 1);
}

// Nodes for what may follow at `position`; `drawn` is the one that the sampler takes.
Status ModelDrafter::guess(uint64_t position, int32_t parent, float path, int32_t& drawn) {
  const std::span<float> logits = std::span(logits_).first(n_vocab());
  std::copy(logits.begin(), logits.end(), shares_.begin());
  model_.table->rows.softmax(shares_.data(), shares_.size());
  const uint32_t n_top = std::min(kRanks, n_vocab());
  std::array<float, kRanks> top_share{};
  std::array<uint32_t, kRanks> top{};
  model_.table->rows.top_k(shares_.data(), shares_.size(), n_top, top_share.data(), top.data());
  SPLITD_ASSIGN(const uint32_t token, sampler_.sample(logits, position));
  drawn = static_cast<int32_t>(nodes_.size());
  const auto add = [&](uint32_t id, uint32_t rank, float share) {
    const size_t at = bucket(rank, share);
    nodes_.push_back({id, parent, path * in_bounds(rates_[at].value()), static_cast<uint8_t>(at)});
  };
  add(token, 0, shares_[token]);
  uint32_t rank = 1;
  for (uint32_t i = 0; i < n_top && rank < kRanks; ++i) {
    if (top[i] != token) add(top[i], rank++, top_share[i]);
  }
  return {};
}

Status ModelDrafter::propose(const DraftRequest& request, Draft& draft) {
  const std::span<const uint32_t> text = request.text;
  if (request.budget == 0 || text.empty() || text.size() >= model_.n_ctx) return {};
  const uint32_t n_known = std::min(model_.embedding->config().n_vocab, n_vocab());
  const auto is_beyond = [&](uint32_t token) { return token >= n_known; };
  if (std::any_of(text.begin(), text.end(), is_beyond)) return {};
  cancelled_ = request.cancelled;
  SPLITD_TRY(follow(text));
  follow_sampler(text);
  nodes_.clear();
  int32_t drawn = -1;
  float path = 1;
  const uint32_t most = std::min(request.budget, kMostDepth);
  for (uint32_t depth = 0; depth < most; ++depth) {
    SPLITD_TRY(guess(text.size() + depth, drawn, path, drawn));
    const Node& link = nodes_[static_cast<size_t>(drawn)];
    path = link.path;
    if (path < kLeastChain || depth + 1 == most || tokens_.size() >= model_.n_ctx) break;
    sampled_.push_back(link.token);
    sampler_.push(link.token, true);
    is_broken_ = true;
    SPLITD_TRY(append({&link.token, 1}));
    is_broken_ = false;
  }
  emit(request.budget, text.size(), draft);
  return {};
}

// The likeliest nodes become rows.
void ModelDrafter::emit(uint32_t budget, size_t n_text, Draft& draft) {
  order_.resize(nodes_.size());
  for (uint32_t i = 0; i < order_.size(); ++i) order_[i] = i;
  std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    return nodes_[a].path != nodes_[b].path ? nodes_[a].path > nodes_[b].path : a < b;
  });
  row_of_.assign(nodes_.size(), -1);
  Sent& sent = sent_[next_sent_++ % kMostInFlight];
  sent.n_text = n_text;
  sent.buckets.clear();
  for (const uint32_t i : order_) {
    const Node& node = nodes_[i];
    if (draft.size() == budget || node.path < kLeastPath) break;
    const int32_t parent = node.parent < 0 ? -1 : row_of_[static_cast<size_t>(node.parent)];
    row_of_[i] = draft.add(node.token, parent, node.path);
    sent.buckets.push_back(node.bucket);
  }
}

void ModelDrafter::observe(const StepSeen& seen) {
  for (size_t back = 1; back <= kMostInFlight; ++back) {
    const Sent& sent = sent_[(next_sent_ + kMostInFlight - back) % kMostInFlight];
    if (sent.n_text != seen.text.size() || sent.buckets.size() < seen.draft->size()) continue;
    each_judged_row(seen, [&](int32_t row, uint32_t, float, bool hit) {
      rates_[sent.buckets[static_cast<size_t>(row)]].learn(hit);
    });
    return;
  }
}

}  // namespace splitd

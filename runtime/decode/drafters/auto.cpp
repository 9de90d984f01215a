#include "runtime/decode/drafters/auto.h"

#include "runtime/decode/drafters/recycle.h"

namespace splitd {

void AutoDrafter::follow(std::span<const uint32_t> text, std::span<const uint32_t> more,
                         bool learn) {
  history_.follow(
      text, more, [&] { model_.begin_text(); },
      [&](uint32_t token) { model_.append(model_.end(history_.tokens()), token, learn); });
}

bool AutoDrafter::use(TokenSketches& tokens) {
  model_.kin().use(tokens);
  return true;
}

void AutoDrafter::begin(std::span<const uint32_t> prompt) {
  follow(prompt, {}, false);
}

Status AutoDrafter::propose(const DraftRequest& request, Draft& draft) {
  follow(request.text.first(request.n_certain), {}, false);
  const std::chrono::duration<double, std::milli> most(request.most_ms);
  model_.kin().begin_draft(
      request.before, history_.tokens().empty() ? 0 : history_.tokens().back(),
      std::chrono::steady_clock::now() +
          std::chrono::duration_cast<std::chrono::steady_clock::duration>(most));
  FollowerModel::Place root = model_.end(history_.tokens());
  for (const uint32_t token : request.text.subspan(request.n_certain)) {
    root = model_.enter(root, token);
  }
  search_.run(
      root, request.budget, draft,
      [&](const FollowerModel::Place& place, uint32_t depth, std::vector<Guess>& out) {
        model_.guesses(place, out);
        for (Guess& guess : out) guess.probability = shift_.apply(guess.probability, depth);
      },
      [&](const FollowerModel::Place& place, uint32_t token) {
        return model_.enter(place, token);
      });
  return {};
}

void AutoDrafter::observe(const StepSeen& seen) {
  each_judged_row(seen, [&](int32_t, uint32_t depth, float claimed, bool hit) {
    shift_.learn(claimed, depth, hit);
  });
  if (!history_.holds(seen.text, seen.accepted)) follow(seen.text, seen.accepted, true);
  for (const SeenRow& row : seen.rows) {
    take(recycle_place(seen, row.row), row);
  }
}

void AutoDrafter::study(std::span<const uint32_t> text, const SeenRow& row) {
  take(RecycleTable::end_of(text), row);
}

void AutoDrafter::take(const RecycleTable::Place& place, const SeenRow& row) {
  model_.put(place, row.top, row.top_probability);
  model_.kin().put(place[0], row.before, row.sketch, row.top, row.top_probability);
}

}  // namespace splitd

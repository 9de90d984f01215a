#include "runtime/decode/drafters/recycle.h"

namespace splitd {

RecycleTable::Place recycle_place(const StepSeen& seen, int32_t row) {
  RecycleTable::Place place;
  size_t n = 0;
  for (; row >= 0 && n < place.size(); row = seen.draft->parents[static_cast<size_t>(row)]) {
    place[n++] = seen.draft->tokens[static_cast<size_t>(row)];
  }
  for (size_t back = 1; n < place.size(); ++back) {
    place[n++] =
        back <= seen.text.size() ? seen.text[seen.text.size() - back] : RecycleTable::kNoToken;
  }
  return place;
}

Status RecycleDrafter::propose(const DraftRequest& request, Draft& draft) {
  search_.run(
      RecycleTable::end_of(request.text), request.budget, draft,
      [&](const RecycleTable::Place& place, uint32_t depth, std::vector<Guess>& out) {
        table_.guesses(place, out);
        for (Guess& guess : out) guess.probability = shift_.apply(guess.probability, depth);
      },
      RecycleTable::enter);
  return {};
}

void RecycleDrafter::observe(const StepSeen& seen) {
  each_judged_row(seen, [&](int32_t, uint32_t depth, float claimed, bool hit) {
    shift_.learn(claimed, depth, hit);
  });
  RecycleTable::Place place = RecycleTable::end_of(seen.text);
  for (const uint32_t token : seen.accepted) {
    table_.learn(place, token);
    place = RecycleTable::enter(place, token);
  }
  for (const SeenRow& row : seen.rows) {
    table_.put(recycle_place(seen, row.row), row.top, row.top_probability);
  }
}

void RecycleDrafter::study(std::span<const uint32_t> text, const SeenRow& row) {
  table_.put(RecycleTable::end_of(text), row.top, row.top_probability);
}

}  // namespace splitd

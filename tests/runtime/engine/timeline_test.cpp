// The timeline against a naive model of the tree. Slots are checked by what they would hold: each
// new row writes its id, moves copy.
#include "runtime/engine/timeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/runtime/engine/naive_tree.h"

namespace splitd {
namespace {

using Edit = TimelineRequest::Edit;

TimelineRequest append(RowId first, RowId base, uint32_t n, bool commit = false) {
  TimelineRequest request;
  request.append = Frame{.first = first, .base = base, .n_row = n, .commit = commit};
  return request;
}

std::string refusal(Timeline& timeline, const TimelineRequest& request) {
  const Status status = timeline.check(request);
  return status.ok() ? "accepted" : status.error().message;
}

void do_it(Timeline& timeline, const TimelineRequest& request) {
  ASSERT_EQ(refusal(timeline, request), "accepted");
  timeline.apply(request);
}

TEST(Timeline, PlainDecodingNeverMovesARow) {
  Timeline timeline(64, 4);
  do_it(timeline, append(0, kNoRow, 10, true));
  for (RowId id = 10; id < 40; ++id) {
    TimelineRequest request = append(id, id - 1, 1);
    request.edit = Edit::keep;
    request.keep = id - 1;
    ASSERT_EQ(refusal(timeline, request), "accepted");
    const Timeline::Applied applied = timeline.apply(request);
    EXPECT_TRUE(applied.moves.empty());
    ASSERT_EQ(applied.rows.size(), 1u);
    EXPECT_EQ(applied.rows[0].slot, id);
    EXPECT_EQ(applied.rows[0].position, id);
  }
  EXPECT_EQ(timeline.n_committed(), 39u);
}

TEST(Timeline, KeepingASideBranchMovesItIntoPlace) {
  Timeline timeline(16, 8);
  do_it(timeline, append(0, kNoRow, 3, true));
  const int32_t parents[] = {-1, -1, 0, 1};
  TimelineRequest tree = append(3, 2, 4);
  tree.append->parents = parents;
  do_it(timeline, tree);
  TimelineRequest keep;
  keep.edit = Edit::keep;
  keep.keep = 6;
  ASSERT_EQ(refusal(timeline, keep), "accepted");
  const Timeline::Applied applied = timeline.apply(keep);
  ASSERT_EQ(applied.moves.size(), 2u);
  EXPECT_EQ(applied.moves[0].to, 3u);
  EXPECT_EQ(applied.moves[1].to, 4u);
  EXPECT_EQ(std::vector<RowId>(applied.killed.begin(), applied.killed.end()),
            (std::vector<RowId>{3, 5}));
  EXPECT_EQ(timeline.last_committed(), 6u);
}

TEST(Timeline, RefusesWithTheValueAndWhatWouldDo) {
  Timeline timeline(8, 4);
  do_it(timeline, append(0, kNoRow, 3, true));
  do_it(timeline, append(3, 2, 2));
  EXPECT_EQ(refusal(timeline, append(7, 4, 1)), "first is 7; the next row is 5");
  EXPECT_EQ(refusal(timeline, append(5, 9, 1)), "base 9: no such row yet");
  EXPECT_EQ(refusal(timeline, append(5, 1, 1)),
            "base 1: earlier than the last committed row 2; rewind first");
  EXPECT_EQ(refusal(timeline, append(5, kNoRow, 1)),
            "base none: earlier than the last committed row 2; rewind first");
  EXPECT_EQ(refusal(timeline, append(5, 4, 0)), "a frame of 0 rows; 1 to 4 are accepted");
  EXPECT_EQ(refusal(timeline, append(5, 4, 3)),
            "2 pending rows and 3 new ones; the session has room for 4");
  EXPECT_EQ(refusal(timeline, append(5, 2, 6, true)),
            "the frame needs 9 positions; the session has 8");
  EXPECT_EQ(refusal(timeline, append(5, 4, 1, true)),
            "commit: the base is 4; the last committed row is 2");
  TimelineRequest edit;
  edit.edit = Edit::rewind;
  edit.rewind = 4;
  EXPECT_EQ(refusal(timeline, edit), "rewind 4: only 3 rows are committed");
  edit.edit = Edit::keep;
  edit.keep = 1;
  EXPECT_EQ(refusal(timeline, edit), "keep 1: an earlier committed row");
  edit.keep = 5;
  EXPECT_EQ(refusal(timeline, edit), "keep 5: no such row yet");
  TimelineRequest bad = append(5, 4, 2);
  const int32_t parents[] = {-1, 1};
  bad.append->parents = parents;
  EXPECT_EQ(refusal(timeline, bad),
            "parents[1] is 1; an earlier row of the frame or a negative number is accepted");
  // Nothing of it changed anything.
  do_it(timeline, append(5, 4, 1));
}

TEST(Timeline, RowsUnderADeadBaseAreBornDead) {
  Timeline timeline(16, 4);
  do_it(timeline, append(0, kNoRow, 2, true));
  do_it(timeline, append(2, 1, 2));
  TimelineRequest rewind = append(4, 3, 3);
  rewind.edit = Edit::rewind;
  rewind.rewind = 1;
  ASSERT_EQ(refusal(timeline, rewind), "accepted");
  const Timeline::Applied applied = timeline.apply(rewind);
  EXPECT_EQ(applied.killed.size(), 3u);
  for (const RowPlace& row : applied.rows) EXPECT_TRUE(row.born_dead);
  EXPECT_EQ(timeline.n_pending(), 0u);
  EXPECT_EQ(timeline.next_id(), 7u);
  TimelineRequest keep;
  keep.edit = Edit::keep;
  keep.keep = 5;
  EXPECT_EQ(refusal(timeline, keep), "keep 5: the row is dead");
}

TEST(Timeline, AFrameMayBranchFromRowsBeforeItsBase) {
  Timeline timeline(16, 12);
  do_it(timeline, append(0, kNoRow, 3, true));
  const int32_t tree[] = {-1, 0, 0};
  TimelineRequest first = append(3, 2, 3);
  first.append->parents = tree;
  do_it(timeline, first);
  // Below row 5, row 4, row 5's child, the last committed row and row 3.
  const int32_t branches[] = {-1, -2, 0, -4, -3};
  TimelineRequest rest = append(6, 5, 5);
  rest.append->parents = branches;
  ASSERT_EQ(refusal(timeline, rest), "accepted");
  EXPECT_TRUE(timeline.lives_after(rest));
  TimelineRequest late = rest;  // …once row 4 is text
  late.edit = Edit::keep;
  late.keep = 4;
  EXPECT_EQ(refusal(timeline, late), "base 2: earlier than the last committed row 4; rewind first");
  const Timeline::Applied applied = timeline.apply(rest);
  const auto place = [&](size_t i) {
    EXPECT_FALSE(applied.rows[i].born_dead);
    return std::pair(applied.rows[i].parent, applied.rows[i].position);
  };
  EXPECT_EQ(place(0), std::pair(5u, 5u));
  EXPECT_EQ(place(1), std::pair(4u, 5u));
  EXPECT_EQ(place(2), std::pair(6u, 6u));
  EXPECT_EQ(place(3), std::pair(2u, 3u));
  EXPECT_EQ(place(4), std::pair(3u, 4u));
  std::vector<uint32_t> path(12);
  ASSERT_EQ(timeline.pending_path(8, path), 4u);
  // Where one of the rows above is dead, what hangs from it is born dead, and only that.
  TimelineRequest half = append(11, 8, 3);
  half.edit = Edit::keep;
  half.keep = 5;
  const int32_t mixed[] = {-1, -2, 1};  // below rows 8 (alive) and 7 (dead by then)
  half.append->parents = mixed;
  ASSERT_EQ(refusal(timeline, half), "accepted");
  EXPECT_FALSE(timeline.lives_after(half));
  const Timeline::Applied after = timeline.apply(half);
  EXPECT_FALSE(after.rows[0].born_dead);
  EXPECT_TRUE(after.rows[1].born_dead);
  EXPECT_TRUE(after.rows[2].born_dead);
  EXPECT_EQ(timeline.n_pending(), 3u);
  TimelineRequest nowhere = append(14, 8, 1);
  const int32_t too_far[] = {-10};
  nowhere.append->parents = too_far;
  EXPECT_EQ(refusal(timeline, nowhere),
            "parents[0] is -10; the base is 8, which has no such row before it");
}

TEST(Timeline, TheContextCanBeFilledToTheLastPosition) {
  Timeline timeline(8, 4);
  do_it(timeline, append(0, kNoRow, 6, true));
  do_it(timeline, append(6, 5, 2));
  EXPECT_EQ(refusal(timeline, append(8, 7, 1)), "the frame needs 9 positions; the session has 8");
  do_it(timeline, append(8, 5, 2));  // beside them is room
  TimelineRequest keep = append(10, 9, 1);
  keep.edit = Edit::keep;
  keep.keep = 9;
  EXPECT_EQ(refusal(timeline, keep), "the frame needs 9 positions; the session has 8");
  keep.append.reset();
  do_it(timeline, keep);
  EXPECT_EQ(timeline.n_committed(), 8u);
  EXPECT_EQ(timeline.n_pending(), 0u);
  EXPECT_EQ(refusal(timeline, append(10, 9, 1, true)),
            "the frame needs 9 positions; the session has 8");
  TimelineRequest back = append(10, 6, 1, true);
  back.append->base = 8;  // the kept branch: 0 … 5, 8, 9
  back.edit = Edit::rewind;
  back.rewind = 7;
  do_it(timeline, back);
  EXPECT_EQ(timeline.n_committed(), 8u);
  EXPECT_EQ(timeline.last_committed(), 10u);
}

TEST(Timeline, PendingRowsCanFillAllTheRoomThereIs) {
  Timeline timeline(16, 4);
  do_it(timeline, append(0, kNoRow, 1, true));
  do_it(timeline, append(1, 0, 4));
  EXPECT_EQ(refusal(timeline, append(5, 0, 1)),
            "4 pending rows and 1 new ones; the session has room for 4");
  // What the same request keeps or kills makes room for its frame.
  TimelineRequest keep = append(5, 2, 3);
  keep.edit = Edit::keep;
  keep.keep = 2;
  EXPECT_EQ(refusal(timeline, keep), "2 pending rows and 3 new ones; the session has room for 4");
  keep.append->n_row = 2;
  do_it(timeline, keep);
  EXPECT_EQ(timeline.n_pending(), 4u);
  TimelineRequest rewind = append(7, 2, 4);
  rewind.edit = Edit::rewind;
  rewind.rewind = 3;
  do_it(timeline, rewind);
  EXPECT_EQ(timeline.n_pending(), 4u);
  TimelineRequest prompt = append(11, 2, 13, true);  // kills them, and fills the context
  do_it(timeline, prompt);
  EXPECT_EQ(timeline.n_pending(), 0u);
  EXPECT_EQ(timeline.n_committed(), 16u);
}

TEST(Timeline, WithoutPendingRowsThereAreOnlyCommits) {
  Timeline timeline(8, 0);
  do_it(timeline, append(0, kNoRow, 2, true));
  EXPECT_EQ(refusal(timeline, append(2, 1, 1)), "a frame of 1 rows; 1 to 0 are accepted");
  do_it(timeline, append(2, 1, 6, true));
}

TEST(Timeline, IdsEndBeforeTheOneThatIsNone) {
  Timeline timeline(8, 4, kNoRow - 3);
  EXPECT_EQ(refusal(timeline, append(0, kNoRow, 1)), "first is 0; the next row is 4294967292");
  EXPECT_EQ(refusal(timeline, append(kNoRow - 3, kNoRow, 3)),
            "the session has used up its row ids");
  do_it(timeline, append(kNoRow - 3, kNoRow, 2));
  EXPECT_TRUE(timeline.is_live(kNoRow - 2));
  EXPECT_FALSE(timeline.is_live(kNoRow - 1));
  EXPECT_FALSE(timeline.is_live(kNoRow));
  EXPECT_EQ(refusal(timeline, append(kNoRow - 1, kNoRow - 2, 1)),
            "the session has used up its row ids");
  TimelineRequest keep;
  keep.edit = Edit::keep;
  keep.keep = kNoRow - 2;
  do_it(timeline, keep);
  keep.keep = kNoRow;
  EXPECT_EQ(refusal(timeline, keep), "keep none: no such row yet");
}

TEST(Timeline, KeepingWhatIsCommittedLastChangesNothing) {
  Timeline timeline(8, 4);
  TimelineRequest keep;
  keep.edit = Edit::keep;
  keep.keep = kNoRow;  // nothing is committed: the place before the first row
  do_it(timeline, keep);
  do_it(timeline, append(0, kNoRow, 2, true));
  do_it(timeline, append(2, 1, 2));
  keep.keep = 1;
  do_it(timeline, keep);
  EXPECT_EQ(timeline.n_pending(), 2u);
  EXPECT_EQ(timeline.n_committed(), 2u);
  keep.alone = true;
  do_it(timeline, keep);
  EXPECT_EQ(timeline.n_pending(), 0u);
  EXPECT_EQ(timeline.n_committed(), 2u);
}

TEST(Timeline, ARowKeptAloneHasNothingBelow) {
  Timeline timeline(16, 6);
  do_it(timeline, append(0, kNoRow, 2, true));
  do_it(timeline, append(2, 1, 3));
  do_it(timeline, append(5, 4, 2));  // sent ahead, below the likeliest leaf
  TimelineRequest next = append(7, 2, 5);
  next.edit = Edit::keep;
  next.keep = 2;
  EXPECT_EQ(refusal(timeline, next), "4 pending rows and 5 new ones; the session has room for 6");
  next.alone = true;
  ASSERT_EQ(refusal(timeline, next), "accepted");
  EXPECT_TRUE(timeline.lives_after(next));
  const Timeline::Applied applied = timeline.apply(next);
  EXPECT_EQ(std::vector<RowId>(applied.killed.begin(), applied.killed.end()),
            (std::vector<RowId>{3, 4, 5, 6}));
  EXPECT_EQ(applied.rows[0].position, 3u);
  EXPECT_EQ(timeline.n_committed(), 3u);
  EXPECT_EQ(timeline.n_pending(), 5u);
  // What hangs from a row that is dead by then is born dead.
  TimelineRequest late = append(12, 9, 1);
  late.edit = Edit::keep;
  late.keep = 8;
  late.alone = true;
  ASSERT_EQ(refusal(timeline, late), "accepted");
  EXPECT_FALSE(timeline.lives_after(late));
}

TEST(Timeline, ACommitUnderADeadBaseIsBornDeadToo) {
  Timeline timeline(8, 4);
  do_it(timeline, append(0, kNoRow, 2, true));
  do_it(timeline, append(2, 1, 1));
  TimelineRequest rewind;
  rewind.edit = Edit::rewind;
  rewind.rewind = 1;
  do_it(timeline, rewind);
  do_it(timeline, append(3, 0, 1));  // lives
  for (const RowId base : {1u, 2u}) {
    const TimelineRequest late = append(timeline.next_id(), base, 2, true);
    ASSERT_EQ(refusal(timeline, late), "accepted");
    EXPECT_FALSE(timeline.lives_after(late));
    const Timeline::Applied applied = timeline.apply(late);
    EXPECT_TRUE(applied.killed.empty());  // nor does it kill the row that lives
    for (const RowPlace& row : applied.rows) EXPECT_TRUE(row.born_dead);
  }
  EXPECT_EQ(timeline.n_committed(), 1u);
  EXPECT_EQ(timeline.n_pending(), 1u);
  // Too long for the context it would have been; dead rows take no place.
  do_it(timeline, append(timeline.next_id(), 1, 8, true));
}

// ---------------------------------------------------------------------------------------------

class RandomTimeline : public testing::TestWithParam<uint32_t> {};

TEST_P(RandomTimeline, AgreesWithTheNaiveModel) {
  constexpr uint32_t kCtx = 40, kPending = 12;
  std::mt19937 random(GetParam());
  const auto below = [&](uint32_t n) { return n == 0 ? 0u : static_cast<uint32_t>(random() % n); };
  Timeline timeline(kCtx, kPending);
  NaiveTree naive({kCtx, kPending, KvType::f32}, 0);
  std::vector<RowId> content(timeline.n_slot(), kNoRow);
  size_t accepted = 0, refused = 0, born_dead = 0, moved = 0;
  for (int step = 0; step < 3000; ++step) {
    TimelineRequest request;
    const auto any_row = [&] { return below(8) == 0 ? kNoRow : below(timeline.next_id() + 1); };
    const auto recent = [&] {
      const uint32_t n = timeline.next_id();
      return below(4) == 0 ? any_row() : n - 1 - below(std::min(n, 10u));
    };
    const uint32_t kind = below(10);
    if (kind < 4) {
      request.edit = Edit::keep;
      request.keep = recent();
    } else if (kind == 4) {
      request.edit = Edit::rewind;
      request.rewind = below(timeline.n_committed() + 2);
    }
    std::vector<int32_t> parents;
    if (kind != 5) {
      Frame frame{.first = timeline.next_id() + (below(40) == 0 ? 1 : 0),
                  .base = recent(),
                  .n_row = below(6),
                  .commit = below(5) == 0};
      if (below(2) == 0)
        frame.base = request.edit == Edit::keep ? request.keep : timeline.last_committed();
      if (below(2) == 0 && frame.n_row > 0) {
        for (uint32_t i = 0; i < frame.n_row; ++i) {
          parents.push_back(static_cast<int32_t>(below(i + 1)) - 1 + (below(60) == 0 ? 1 : 0));
          if (below(4) == 0) parents.back() = -1 - static_cast<int32_t>(below(8));
        }
        frame.parents = parents;
      }
      request.append = frame;
    }
    const bool right = naive.check(request) == NaiveTree::Verdict::accepted;
    ASSERT_EQ(timeline.check(request).ok(), right);
    if (!right) {
      ++refused;
      continue;
    }
    ++accepted;
    const Timeline::Applied applied = timeline.apply(request);
    naive.apply(request, std::vector<uint32_t>(request.append ? request.append->n_row : 0));
    for (const SlotMove& move : applied.moves) content[move.to] = content[move.from];
    moved += applied.moves.size();
    for (const RowPlace& row : applied.rows) {
      ASSERT_EQ(row.born_dead, naive.rows[row.id].state == 'd');
      const uint32_t position = naive.rows[row.id].position;
      ASSERT_EQ(row.born_dead ? position : row.position, position);
      ASSERT_EQ(row.parent, naive.rows[row.id].parent);
      born_dead += row.born_dead ? 1 : 0;
      if (!row.born_dead) content[row.slot] = row.id;
    }
    ASSERT_EQ(timeline.next_id(), naive.rows.size());
    ASSERT_EQ(timeline.n_committed(), naive.committed.size());
    uint32_t pending = 0;
    for (uint32_t i = 0; i < naive.committed.size(); ++i) ASSERT_EQ(content[i], naive.committed[i]);
    for (RowId id = 0; id < naive.rows.size(); ++id) {
      ASSERT_EQ(timeline.is_live(id), naive.rows[id].state != 'd');
      if (naive.rows[id].state != 'p') continue;
      ++pending;
      uint32_t slots[kPending];
      const uint32_t n = timeline.pending_path(id, slots);
      std::vector<RowId> path;
      for (RowId at = id; at != kNoRow; at = naive.rows[at].parent) path.insert(path.begin(), at);
      ASSERT_EQ(naive.committed.size() + n, path.size());
      for (uint32_t i = 0; i < n; ++i)
        ASSERT_EQ(content[slots[i]], path[naive.committed.size() + i]);
    }
    ASSERT_EQ(timeline.n_pending(), pending);
  }
  // The run has to have met the hard cases, else it shows nothing.
  EXPECT_GT(accepted, 500u);
  EXPECT_GT(refused, 200u);
  EXPECT_GT(born_dead, 20u);
  EXPECT_GT(moved, 20u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTimeline, testing::Range(1u, 9u));

}  // namespace
}  // namespace splitd

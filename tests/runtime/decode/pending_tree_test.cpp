// The tree over frames in flight, against one that is recomputed from paths of tokens.
#include "runtime/decode/pending_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace splitd {
namespace {

using Path = std::vector<uint32_t>;

// Tokens from the text's last one down to the row.
Path path_to(PendingTree& tree, uint32_t row) {
  Path out;
  for (auto at = static_cast<int32_t>(row); at >= 0; at = tree.row(at).parent) {
    out.insert(out.begin(), tree.row(at).token);
  }
  return out;
}

TEST(PendingTree, FramesFollowOneAnother) {
  PendingTree tree;
  Draft draft;
  draft.add(10, -1, 0.8F);
  draft.add(11, 0, 0.4F);
  draft.add(20, -1, 0.1F);
  tree.add(5, 7, draft, 3);
  EXPECT_EQ(draft.size(), 0u);
  EXPECT_EQ(tree.frame(0).n_text, 8u);
  EXPECT_TRUE(tree.frame(0).has_last_token);
  ASSERT_EQ(tree.likeliest_leaf(0), 2u);
  draft.add(12, -1, 0.5F);
  draft.add(13, -1, 0.25F);
  draft.add(14, 0, 0.25F);
  tree.add_below(2, draft);
  EXPECT_EQ(tree.frame(1).n_text, 10u);
  EXPECT_FALSE(tree.frame(1).is_alone);
  EXPECT_EQ(path_to(tree, 6), (Path{5, 10, 11, 12, 14}));
  EXPECT_FLOAT_EQ(tree.row(6).probability, 0.1F);
  EXPECT_EQ(tree.row(6).position, 11u);
  EXPECT_EQ(tree.child(2, 13), 5);
  EXPECT_EQ(tree.child(2, 10), -1);
  tree.go_on_from(4);
  tree.pop();
  ASSERT_EQ(tree.n_row(), 2u);
  EXPECT_EQ(path_to(tree, 1), (Path{12, 14}));
  EXPECT_FLOAT_EQ(tree.row(1).probability, 0.5F);
  EXPECT_EQ(tree.n_live(), 1u);
  EXPECT_EQ(tree.frame(0).first, 0u);
  EXPECT_EQ(tree.frame(0).n_row, 2u);
  EXPECT_EQ(tree.frame(0).n_sent, 3u);
  tree.drop_rows();
  EXPECT_EQ(tree.n_owed(), 1u);
  EXPECT_EQ(tree.n_live(), 0u);
  tree.forget_dead();
  EXPECT_EQ(tree.n_owed(), 0u);
}

// What is left of a draft whose rest the walk came to.
TEST(PendingTree, TheRestOfADraftFollows) {
  PendingTree tree;
  Draft draft;
  draft.add(10, -1, 0.6F);
  draft.add(11, 0, 0.4F);
  draft.add(20, -1, 0.2F);  // the rest: below the last token, …
  draft.add(12, 1, 0.2F);   // …below a row of the first part
  draft.add(21, 2, 0.1F);   // …and of its own
  draft.add(22, 2, 0.05F);
  tree.add(5, 7, draft, 2);
  tree.add_rest(3);
  tree.add_rest(1);
  EXPECT_EQ(tree.frame(0).n_row, 3u);
  EXPECT_EQ(tree.frame(0).draft.size(), 6u);
  EXPECT_TRUE(tree.frame(0).is_alone);
  EXPECT_TRUE(tree.frame(1).is_rest);
  EXPECT_EQ(path_to(tree, 4), (Path{5, 10, 11, 12}));
  EXPECT_EQ(path_to(tree, 6), (Path{5, 20, 22}));
  ASSERT_EQ(tree.child(0, 20), 3);
  tree.go_on_from(3);
  tree.pop();
  EXPECT_FALSE(tree.frame(0).is_rest);
  EXPECT_TRUE(tree.frame(0).has_last_token);
  EXPECT_EQ(tree.frame(0).n_text, 9u);
  EXPECT_EQ(tree.frame(0).n_row, 2u);
  EXPECT_TRUE(tree.frame(1).is_rest);
  EXPECT_EQ(tree.row(0).draft_row, -1);
  EXPECT_EQ(tree.frame(0).draft.tokens, (std::vector<uint32_t>{21, 22}));
  EXPECT_EQ(tree.frame(0).draft.parents, (std::vector<int32_t>{-1, -1}));
  EXPECT_FLOAT_EQ(tree.frame(0).draft.probabilities[1], 0.25F);
}

// Random frames below random leaves; walks that go on or end. Every row carries its path in a name
// of its own, so that whatever moves can be told.
TEST(PendingTree, RowsAndFramesStayTogether) {
  std::mt19937 random(3);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  uint32_t n_went_on = 0, n_survived = 0, n_rest = 0;
  PendingTree tree;
  std::map<RowId, Path> paths;         // by body_id: tokens since the text began
  std::map<RowId, uint32_t> frame_of;  // … and the number of its frame
  RowId next_id = 0;
  Path text{1};
  uint32_t oldest = 0, n_frame = 0;
  for (int turn = 0; turn < 3000; ++turn) {
    if (tree.empty() || (tree.n_owed() < kReplyWindow - 1 && below(2) == 0)) {
      Draft draft;
      const uint32_t n_draft = below(6) + (tree.empty() ? 0 : 1);
      for (uint32_t i = 0; i < n_draft; ++i) {
        draft.add(100 * next_id + i, static_cast<int32_t>(below(i + 1)) - 1, 0.5F);
      }
      const auto name_rows = [&](PendingFrame& frame) {
        for (PendingRow& row : tree.rows_of(frame)) {
          row.body_id = next_id++;
          Path path = row.parent < 0 ? Path(text.begin(), text.end() - 1)
                                     : paths.at(tree.row(row.parent).body_id);
          path.push_back(row.token);
          ASSERT_EQ(path.size(), row.position + 1);
          paths[row.body_id] = path;
          frame_of[row.body_id] = n_frame;
        }
        ++n_frame;
      };
      if (!tree.empty()) {
        name_rows(tree.add_below(tree.likeliest_leaf(0), draft));
        continue;
      }
      // As a whole, or in parts.
      uint32_t n_sent = below(2) == 0 ? n_draft : below(n_draft + 1);
      name_rows(tree.add(text.back(), static_cast<uint32_t>(text.size() - 1), draft, n_sent));
      while (n_sent < n_draft && tree.n_owed() < kReplyWindow - 1) {
        const uint32_t n = 1 + below(n_draft - n_sent);
        name_rows(tree.add_rest(n));
        n_sent += n;
        ++n_rest;
      }
      continue;
    }
    while (tree.n_owed() > 0 && tree.frame(0).n_row == 0) {
      tree.pop();
      ++oldest;
    }
    // The walk: anywhere in the first frame; then into the next one, or out.
    const uint32_t n_first = tree.frame(0).n_row;
    ASSERT_GT(n_first, 0u);
    int32_t child = -1;
    for (uint32_t i = n_first; i < tree.n_row() && below(4) != 0; ++i) {
      if (tree.row(i).parent < static_cast<int32_t>(n_first)) child = static_cast<int32_t>(i);
    }
    if (child >= 0) {
      const RowId id = tree.row(child).body_id;
      text = paths.at(id);
      tree.go_on_from(static_cast<uint32_t>(child));
      ASSERT_EQ(tree.row(0).body_id, id);
      ++n_went_on;
      n_survived += tree.n_row() > 1 ? 1 : 0;
    } else {
      text = paths.at(tree.row(below(n_first)).body_id);
      text.push_back(50 + below(40));
      tree.drop_rows();
    }
    tree.pop();
    ++oldest;
    uint32_t n_row = 0;
    const Draft* draft = nullptr;
    for (uint32_t f = 0; f < tree.n_owed(); ++f) {
      const PendingFrame& frame = tree.frame(f);
      ASSERT_TRUE(frame.n_row == 0 || frame.first == n_row);
      n_row += frame.n_row;
      if (frame.n_row > 0 && !frame.is_rest) draft = &frame.draft;
      for (const PendingRow& row : tree.rows_of(frame)) {
        ASSERT_NE(draft, nullptr);
        ASSERT_EQ(row.draft_row < 0, frame.has_last_token && row.parent < 0);
        if (row.draft_row >= 0) {
          const auto at = static_cast<size_t>(row.draft_row);
          ASSERT_EQ(draft->tokens.at(at), row.token);
          const bool in_draft = draft->parents.at(at) >= 0;
          ASSERT_TRUE(!in_draft || tree.row(row.parent).draft_row == draft->parents.at(at));
        }
        ASSERT_EQ(frame_of.at(row.body_id), oldest + f);
        Path path = row.parent < 0 ? Path(text.begin(), text.end() - 1)
                                   : paths.at(tree.row(row.parent).body_id);
        path.push_back(row.token);
        ASSERT_EQ(path, paths.at(row.body_id));
      }
    }
    ASSERT_EQ(n_row, tree.n_row());
  }
  EXPECT_GT(n_went_on, 300u);
  EXPECT_GT(n_survived, 100u);
  EXPECT_GT(n_rest, 200u);
}

}  // namespace
}  // namespace splitd

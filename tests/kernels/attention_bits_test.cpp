// The law of batch invariance for attention, bit for bit: alone or in a batch, scattered or in a
// line, committed or pending, whole or by splits, on any vector unit, whatever lies in other slots.
#include "tests/kernels/attention_session.h"

namespace splitd::kernels {
namespace {

// A session of committed rows with a random tree of pending rows in random slots.
struct Tree {
  std::unique_ptr<Session> session;
  std::vector<Query> queries;  // one for each pending row
};

Tree make_tree(const KernelTable& table, KvType type, Random& random) {
  const Shape shapes[] = {{.d_head = 64, .n_head = 4},  {.d_head = 24, .n_head = 1},
                          {.d_head = 80, .n_head = 3},  {.d_head = 34, .n_head = 7},
                          {.d_head = 16, .n_head = 50}, {.d_head = 128, .n_head = 2, .softcap = 4}};
  const size_t lengths[] = {0, 1, 60, 63, 64, 65, 100, 127, 960, 1020, 1024, 1500, 2050};
  const size_t n_committed = lengths[random.below(std::size(lengths))] + random.below(4);
  const size_t n_pending = 1 + random.below(random.below(3) == 0 ? 80 : 12);
  const bool windowed = random.below(3) == 0;
  const uint32_t window = windowed ? 1 + static_cast<uint32_t>(random.below(200)) : UINT32_MAX;
  const uint32_t ring = windowed ? 384 : static_cast<uint32_t>(n_committed + n_pending + 3);
  const uint32_t n_slot = ring + 100;
  Tree tree;
  tree.session = std::make_unique<Session>(shapes[random.below(std::size(shapes))], type, ring,
                                           n_slot, table, random);
  Session& session = *tree.session;
  session.commit(n_committed);
  std::vector<uint32_t> spare;
  for (uint32_t slot = ring; slot < n_slot; ++slot) spare.push_back(slot);
  std::vector<bool> own_taken(n_pending + 1);
  const bool chain = random.below(3) == 0, own_slots = random.below(2) == 0;
  for (size_t i = 0; i < n_pending; ++i) {
    Query query;
    const size_t parent = chain ? i : random.below(i + 1);  // 0: the last committed row
    if (parent > 0) {
      query = tree.queries[parent - 1];
    } else {
      for (size_t at = 0; at < n_committed; ++at) query.path.push_back(session.committed(at));
      query.n_committed = n_committed;
    }
    const size_t position = query.path.size();
    query.path.push_back(session.new_row());
    uint32_t slot = static_cast<uint32_t>(position % ring);
    const size_t depth = position - n_committed;
    if (own_slots && !own_taken[depth]) {
      own_taken[depth] = true;
    } else {
      const size_t pick = random.below(spare.size());
      slot = spare[pick];
      spare.erase(spare.begin() + static_cast<ptrdiff_t>(pick));
    }
    session.put(query.path.back(), slot);
    query.slots.push_back(slot);
    query.lo = position + 1 > window ? position + 1 - window : 0;
    query.q.resize(size_t{session.shape().n_head} * session.shape().d_head);
    for (float& x : query.q) x = random.normal();
    tree.queries.push_back(query);
  }
  return tree;
}

// The query's path as a plain line of committed rows in a cache of its own, no ring.
std::vector<float> in_a_line(const Tree& tree, const Query& query, const KernelTable& table,
                             KvType type, Random& random) {
  const uint32_t length = query.position() + 1;
  Session line(tree.session->shape(), type, length, length, table, random);
  for (const size_t row : query.path) line.commit_row(line.adopt(*tree.session, row));
  Query copy = query;
  for (size_t at = 0; at < length; ++at) copy.path[at] = at;
  copy.n_committed = length;
  copy.slots.clear();
  return line.attend(copy);
}

TEST(AttentionBits, ARowIsTheSameInATreeInALineAndInAnyBatch) {
  for (const KernelTable* table : runnable_tables()) {
    const bool slow = table == &reference_table();
    for (size_t seed = 0; seed < (slow ? 6 : 120); ++seed) {
      Random random(seed);
      const KvType type = kTypes[seed % 4];
      Tree tree = make_tree(*table, type, random);
      std::vector<const Query*> all, some;
      for (const Query& query : tree.queries) all.push_back(&query);
      for (size_t i = all.size(); i-- > 0;) {
        if (random.below(2) == 0) some.push_back(all[i]);  // and in descending order
      }
      const auto batch = tree.session->attend(all, *table);
      for (size_t i = 0; i < all.size(); ++i) {
        const auto line = in_a_line(tree, *all[i], *table, type, random);
        ASSERT_TRUE(same_bits(batch[i].data(), line.data(), line.size()))
            << table->name << " seed " << seed << " row " << i;
        if (i % 5 != 0) continue;
        const auto alone = tree.session->attend(*all[i]);
        ASSERT_TRUE(same_bits(batch[i].data(), alone.data(), alone.size()));
      }
      const auto subset = tree.session->attend(some, *table);
      for (size_t i = 0, at = all.size(); i < some.size(); ++i) {
        while (all[--at] != some[i]) {
        }
        ASSERT_TRUE(same_bits(batch[at].data(), subset[i].data(), subset[i].size()));
      }
      const auto splits = tree.session->attend_by_splits(all, *table, random);
      for (size_t i = 0; i < all.size(); ++i) {
        ASSERT_TRUE(same_bits(batch[i].data(), splits[i].data(), splits[i].size()))
            << table->name << " seed " << seed << " row " << i;
      }
    }
  }
}

// All rows of a prompt at once, in chunks, and one by one; its cache is filled before.
TEST(AttentionBits, APromptIsTheSameInAnyChunk) {
  for (const KernelTable* table : vector_tables()) {
    for (const KvType type : kTypes) {
      Random random(9);
      const Shape shape{.d_head = 64, .n_head = 3};
      Session session(shape, type, 1200, 1200, *table, random);
      session.commit(1100);
      std::vector<Query> queries;
      for (size_t position = 900; position < 1100; ++position) {
        queries.push_back(session.query(position, 0, random));
      }
      std::vector<std::vector<float>> whole;
      for (const size_t chunk : {200u, 64u, 7u, 1u}) {
        std::vector<std::vector<float>> out;
        for (size_t first = 0; first < queries.size(); first += chunk) {
          std::vector<const Query*> part;
          for (size_t i = first; i < std::min(first + chunk, queries.size()); ++i) {
            part.push_back(&queries[i]);
          }
          for (auto& row : session.attend(part, *table)) out.push_back(std::move(row));
        }
        if (whole.empty()) whole = out;
        for (size_t i = 0; i < out.size(); ++i) {
          ASSERT_TRUE(same_bits(out[i].data(), whole[i].data(), out[i].size()))
              << table->name << " chunk " << chunk << " row " << i;
        }
      }
    }
  }
}

TEST(AttentionBits, TheVectorUnitsAgree) {
  const auto tables = vector_tables();
  for (size_t seed = 0; seed < 60 && tables.size() > 1; ++seed) {
    Random random(1000 + seed);
    const Tree tree = make_tree(*tables[0], kTypes[seed % 4], random);
    std::vector<const Query*> all;
    for (const Query& query : tree.queries) all.push_back(&query);
    const auto first = tree.session->attend(all, *tables[0]);
    for (const KernelTable* other : tables) {
      const auto out = tree.session->attend(all, *other);
      for (size_t i = 0; i < all.size(); ++i) {
        ASSERT_TRUE(same_bits(first[i].data(), out[i].data(), out[i].size())) << other->name;
      }
    }
  }
}

// A poisoned row shows in its descendants and nowhere else.
TEST(AttentionBits, ANeighboursNanStaysWhereItIs) {
  for (const KernelTable* table : runnable_tables()) {
    Random random(21);
    const Shape shape{.d_head = 48, .n_head = 2};
    Session session(shape, KvType::f16, 256, 256, *table, random);
    session.commit(150);
    std::vector<Query> queries;
    for (size_t position = 100; position < 150; ++position) {
      queries.push_back(session.query(position, 0, random));
    }
    std::vector<const Query*> all;
    for (const Query& query : queries) all.push_back(&query);
    const auto before = session.attend(all, *table);
    session.overwrite_key(125, 3, NAN);
    session.overwrite_value(125, 5, NAN);
    queries[10].q[0] = NAN;
    const auto after = session.attend(all, *table);
    for (size_t i = 0; i < all.size(); ++i) {
      if (i < 25 && i != 10) {
        ASSERT_TRUE(same_bits(before[i].data(), after[i].data(), before[i].size()))
            << table->name << " row " << i;
      } else {
        EXPECT_TRUE(std::isnan(after[i][0])) << table->name << " row " << i;
      }
    }
  }
}

// The comparisons above can fail: one bit of one key is seen.
TEST(AttentionBits, OneBitOfAKeyIsSeen) {
  for (const KernelTable* table : runnable_tables()) {
    Random random(22);
    Session session({.d_head = 32, .n_head = 1}, KvType::f32, 128, 128, *table, random);
    session.commit(90);
    const Query query = session.query(89, 0, random);
    const auto before = session.attend(query);
    const float x = session.key(session.committed(89))[7];
    session.overwrite_key(89, 7, x * 1.001f);
    EXPECT_NE(before, session.attend(query)) << table->name;
  }
}

}  // namespace
}  // namespace splitd::kernels

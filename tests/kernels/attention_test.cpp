// Attention against plain f64 attention over the rows themselves, and the vector units against the
// reference over the same cache. The bits are attention_bits_test.cpp's business.
#include "tests/kernels/attention_session.h"

namespace splitd::kernels {
namespace {

// Two passes, f64, from the f32 rows: shares nothing with the kernels but the formula.
std::vector<double> naive(const Session& session, const Query& query) {
  const Shape& shape = session.shape();
  std::vector<double> result;
  for (size_t head = 0; head < shape.n_head; ++head) {
    std::vector<double> scores;
    double highest = -INFINITY, sum = 0;
    for (size_t at = query.lo; at < query.path.size(); ++at) {
      double dot = 0;
      for (size_t i = 0; i < shape.d_head; ++i) {
        dot += double{query.q[head * shape.d_head + i]} * session.key(query.path[at])[i];
      }
      dot *= shape.scale;
      if (shape.softcap > 0) dot = shape.softcap * std::tanh(dot / shape.softcap);
      scores.push_back(dot);
      highest = std::max(highest, dot);
    }
    for (double& score : scores) sum += score = std::exp(score - highest);
    for (size_t i = 0; i < shape.d_head; ++i) {
      double value = 0;
      for (size_t at = query.lo; at < query.path.size(); ++at) {
        value += scores[at - query.lo] * session.value(query.path[at])[i];
      }
      result.push_back(value / sum);
    }
  }
  return result;
}

double largest_error(const std::vector<float>& got, const std::vector<double>& exact) {
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(got[i] - exact[i]);
    worst = std::max(worst, std::isnan(error) ? 1e300 : error);
  }
  return worst;
}

std::vector<double> widened(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

// Values are of order 1. A score is of order 10 and off by some 10 · 2^−24 · 8; a probability's
// relative error is twice that.
constexpr double kTolerance = 1e-5;

const std::vector<Shape> kShapes = {
    {.d_head = 2, .n_head = 1},   {.d_head = 20, .n_head = 3},
    {.d_head = 24, .n_head = 2},  {.d_head = 64, .n_head = 4},
    {.d_head = 80, .n_head = 7},  {.d_head = 96, .n_head = 1},
    {.d_head = 112, .n_head = 5}, {.d_head = 128, .n_head = 8, .softcap = 5.0f},
    {.d_head = 256, .n_head = 2}, {.d_head = 36, .n_head = 53, .softcap = 30.0f},
};

TEST(Attention, MatchesPlainAttentionOverTheRows) {
  for (const KernelTable* table : runnable_tables()) {
    for (const Shape& shape : kShapes) {
      Random random(shape.d_head);
      Session session(shape, KvType::f32, 256, 256, *table, random);
      session.commit(199);
      for (const size_t position : {0u, 1u, 15u, 16u, 62u, 63u, 64u, 65u, 130u, 198u}) {
        const Query query = session.query(position, position / 3, random);
        const double error = largest_error(session.attend(query), naive(session, query));
        EXPECT_LT(error, kTolerance)
            << table->name << " d_head " << shape.d_head << " at " << position;
      }
    }
  }
}

TEST(Attention, VectorUnitsMatchTheReferenceOverEveryType) {
  for (const KernelTable* table : vector_tables()) {
    for (const KvType type : kTypes) {
      for (Shape shape : kShapes) {
        Random random(7 + shape.d_head);
        Session session(shape, type, 2176, 2176, *table, random);
        session.commit(2140);
        for (const size_t position : {0u, 63u, 1022u, 1023u, 1024u, 2049u, 2139u}) {
          for (const size_t window : {size_t{2176}, size_t{70}}) {
            const size_t lo = position + 1 > window ? position + 1 - window : 0;
            if (shape.d_head > 100 && position > 1500 && window > 70) continue;  // slow in f64
            const Query query = session.query(position, lo, random);
            const auto exact = session.attend(query, reference_table());
            EXPECT_LT(largest_error(session.attend(query), widened(exact)), kTolerance)
                << table->name << " d_head " << shape.d_head << " at " << position << " type "
                << static_cast<int>(type);
          }
        }
      }
    }
  }
}

// Scores of thousands: the softmax is all on one position, and exp must not be led astray.
TEST(Attention, OutliersInQueriesAndKeys) {
  for (const KernelTable* table : runnable_tables()) {
    Random random(3);
    Session session({.d_head = 64, .n_head = 2}, KvType::f32, 512, 512, *table, random,
                    Values::outliers);
    session.commit(300);
    Query query = session.query(299, 0, random);
    fill(query.q.data(), query.q.size(), Values::outliers, random);
    const auto got = session.attend(query), exact = session.attend(query, reference_table());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], exact[i], 1e-5 * std::max(1.0f, std::fabs(exact[i]))) << table->name;
    }
  }
}

TEST(Attention, DenormalKeysAndValues) {
  for (const KernelTable* table : runnable_tables()) {
    Random random(4);
    Session session({.d_head = 32, .n_head = 1}, KvType::f32, 128, 128, *table, random,
                    Values::tiny);
    session.commit(100);
    const Query query = session.query(99, 0, random);
    const auto got = session.attend(query);
    const auto exact = naive(session, query);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], exact[i], 2e-44) << table->name;
  }
}

TEST(Attention, WhatIsNotFiniteIsNoticed) {
  const float bad_values[] = {NAN, INFINITY, -INFINITY};
  for (const KernelTable* table : runnable_tables()) {
    for (const KvType type : kTypes) {
      for (const float bad : bad_values) {
        for (const size_t where : {0u, 50u, 63u, 64u, 99u}) {
          Random random(5);
          Session session({.d_head = 40, .n_head = 3, .softcap = 20.0f}, type, 128, 128, *table,
                          random);
          session.commit(100);
          Query query = session.query(99, 0, random);
          const auto finite = [&] {
            const auto out = session.attend(query);
            return std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); });
          };
          ASSERT_TRUE(finite());
          const auto key = session.key(session.committed(where));
          session.overwrite_key(where, 17, bad);
          EXPECT_FALSE(finite()) << table->name << " key " << bad;
          session.write_key(where, key);
          ASSERT_TRUE(finite());
          query.q[40 + 3] = bad;
          EXPECT_FALSE(finite()) << table->name << " query " << bad;
          query.q[40 + 3] = 0;
          session.overwrite_value(where, 39, bad);
          EXPECT_FALSE(finite()) << table->name << " value " << bad;
        }
      }
    }
  }
}

TEST(Attention, EveryTableWritesTheSameCache) {
  const auto bytes_of = [](const KernelTable& table, KvType type, size_t d_head, Values values) {
    Random random(d_head);
    std::vector<uint8_t> bytes(kv_k_bytes(type, d_head, 40) + kv_v_bytes(type, d_head, 40));
    uint8_t* v = bytes.data() + kv_k_bytes(type, d_head, 40);
    std::vector<float> row(d_head);
    for (uint32_t slot = 0; slot < 39; ++slot) {
      fill(row.data(), d_head, values, random);
      if (slot == 20) row[d_head / 2] = NAN;
      if (slot == 21) row[0] = -INFINITY;
      table.attention.write_k(type, row.data(), d_head, slot, bytes.data());
      table.attention.write_v(type, row.data(), d_head, slot, v);
    }
    table.attention.copy_k(type, d_head, 3, 39, bytes.data());
    table.attention.copy_k(type, d_head, 20, 4, bytes.data());
    table.attention.copy_v(type, d_head, 3, 39, v);
    table.attention.copy_v(type, d_head, 38, 4, v);
    return bytes;
  };
  for (const KernelTable* table : vector_tables()) {
    for (const KvType type : kTypes) {
      for (const size_t d_head : {2u, 20u, 32u, 34u, 80u, 128u, 250u}) {
        for (const Values values : {Values::normal, Values::outliers, Values::tiny, Values::huge}) {
          EXPECT_EQ(bytes_of(*table, type, d_head, values),
                    bytes_of(reference_table(), type, d_head, values))
              << table->name << " " << static_cast<int>(type) << " " << d_head;
        }
        EXPECT_NE(bytes_of(*table, type, d_head, Values::normal),
                  bytes_of(*table, type, d_head, Values::outliers));
      }
    }
  }
}

// What q8 keeps: half a step of the group's scale.
TEST(Attention, Q8IsWithinHalfAStep) {
  Random random(11);
  const Shape shape{.d_head = 80, .n_head = 1};
  Session session(shape, KvType::q8, 64, 64, reference_table(), random);
  session.commit(1);
  const Query query = session.query(0, 0, random);
  const auto out = session.attend(query);  // one position: its value itself
  const auto value = session.value(session.committed(0));
  bool differs = false;
  for (size_t first = 0; first < 80; first += 32) {
    float top = 0;
    const size_t end = std::min<size_t>(first + 32, 80);
    for (size_t i = first; i < end; ++i) top = std::max(top, std::fabs(value[i]));
    for (size_t i = first; i < end; ++i) {
      EXPECT_NEAR(out[i], value[i], top / 127 * 0.51);
      differs = differs || out[i] != value[i];
    }
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace splitd::kernels

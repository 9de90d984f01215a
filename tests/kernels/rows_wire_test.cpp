// The wire's conversions: bytes equal to the reference's, the reference's checked against what
// DESIGN §6 says, both ways, with everything that has to be refused.
#include "runtime/base/float16.h"
#include "tests/kernels/rows_check.h"

namespace splitd::kernels {
namespace {

constexpr WireType kWireTypes[] = {WireType::f32, WireType::bf16, WireType::f16, WireType::q8,
                                   WireType::q4};
constexpr size_t kWidths[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 96, 576, 1000};

struct Encoded {
  Guarded<uint8_t> data;
  Guarded<int8_t> exponents;
  RowFault fault;

  Encoded(const KernelTable& table, WireType type, const float* rows, size_t stride, size_t n_row,
          size_t n)
      : data(wire_data_bytes(type, n) * n_row),
        exponents(wire_has_exponents(type) ? n_row : 0),
        fault(table.rows.wire_encode(type, rows, stride, n_row, n, data.data(), exponents.data())) {
  }

  std::vector<uint8_t> row(size_t index, size_t n_row) const {
    const size_t bytes = data.size() / n_row;
    std::vector<uint8_t> result(data.data() + index * bytes, data.data() + (index + 1) * bytes);
    if (exponents.size() != 0) result.push_back(static_cast<uint8_t>(exponents[index]));
    return result;
  }
};

TEST(RowsWire, SizesAreThoseOfTheProtocol) {
  EXPECT_EQ(wire_data_bytes(WireType::f32, 33), 132u);
  EXPECT_EQ(wire_data_bytes(WireType::bf16, 33), 66u);
  EXPECT_EQ(wire_data_bytes(WireType::f16, 33), 66u);
  EXPECT_EQ(wire_data_bytes(WireType::q8, 33), 68u);
  EXPECT_EQ(wire_data_bytes(WireType::q4, 33), 36u);
  EXPECT_EQ(wire_data_bytes(WireType::q4, 32), 18u);
  EXPECT_FALSE(wire_has_exponents(WireType::bf16));
  EXPECT_TRUE(wire_has_exponents(WireType::f16));
}

TEST(RowsWire, EveryTableWritesTheBytesOfTheReferenceAndReadsThemBack) {
  for (const KernelTable* table : runnable_tables()) {
    for (const WireType type : kWireTypes) {
      for (const size_t n : kWidths) {
        for (const Values values : {Values::normal, Values::outliers, Values::tiny, Values::huge}) {
          Random random(n);
          const size_t n_row = 4, stride = n + 3;
          Guarded<float> rows((n_row - 1) * stride + n);
          fill(rows.data(), rows.size(), values, random);
          std::fill(rows.data() + stride, rows.data() + stride + n, 0.0f);
          const Encoded got(*table, type, rows.data(), stride, n_row, n);
          const Encoded expected(reference_table(), type, rows.data(), stride, n_row, n);
          ASSERT_EQ(got.fault.row, n_row);
          Guarded<float> back((n_row - 1) * stride + n), same((n_row - 1) * stride + n);
          for (size_t row = 0; row < n_row; ++row) {
            ASSERT_EQ(got.row(row, n_row), expected.row(row, n_row)) << table->name << " " << n;
            const Encoded alone(*table, type, rows.data() + row * stride, n, 1, n);
            ASSERT_EQ(alone.row(0, 1), got.row(row, n_row)) << "alone and in company";
          }
          ASSERT_EQ(table->rows
                        .wire_decode(type, got.data.data(), got.exponents.data(), n_row, n,
                                     back.data(), stride)
                        .row,
                    n_row);
          reference_table().rows.wire_decode(type, got.data.data(), got.exponents.data(), n_row, n,
                                             same.data(), stride);
          for (size_t row = 0; row < n_row; ++row) {
            ASSERT_TRUE(same_bits(back.data() + row * stride, same.data() + row * stride, n))
                << table->name;
          }
        }
      }
    }
  }
}

// What the types promise, from the values themselves.
TEST(RowsWire, ErrorsAreThoseOfTheType) {
  const KernelTable& table = *runnable_tables().back();
  for (const Values values : {Values::normal, Values::outliers, Values::huge}) {
    Random random(6);
    const size_t n = 1000;
    std::vector<float> x(n), back(n);
    fill(x.data(), n, values, random);
    float top = 0;
    for (const float v : x) top = std::max(top, std::fabs(v));
    int exponent = 0;
    std::frexp(top, &exponent);
    exponent = std::max(0, exponent - 15);
    for (const WireType type : kWireTypes) {
      const Encoded encoded(table, type, x.data(), n, 1, n);
      if (wire_has_exponents(type)) {
        ASSERT_EQ(encoded.exponents[0], exponent);
      }
      table.rows.wire_decode(type, encoded.data.data(), encoded.exponents.data(), 1, n, back.data(),
                             n);
      bool differs = false;
      for (size_t i = 0; i < n; ++i) {
        const size_t first = i / 32 * 32, end = std::min(n, first + 32);
        double group = 0;
        for (size_t j = first; j < end; ++j) group = std::max(group, std::fabs(double{x[j]}));
        const double smallest = std::ldexp(0x1p-24, exponent);  // f16's own step near zero
        double bound = 0;
        if (type == WireType::bf16) bound = std::fabs(x[i]) * 0x1p-8;
        if (type == WireType::f16) bound = std::fabs(x[i]) * 0x1p-11 + smallest;
        if (type == WireType::q8) bound = group * (0.5 / 127 + 0x1p-11) + 127 * smallest;
        if (type == WireType::q4) bound = group * (1.0 / 8 + 0x1p-11) + 8 * smallest;
        ASSERT_LE(std::fabs(double{back[i]} - x[i]), bound) << static_cast<int>(type) << " " << i;
        differs = differs || back[i] != x[i];
      }
      EXPECT_EQ(differs, type != WireType::f32);
    }
  }
}

// A row of gemma-3-27b's size: 696k keeps its place in f16.
TEST(RowsWire, TheExponentIsThatOfTheLargestMagnitude) {
  for (const KernelTable* table : runnable_tables()) {
    for (const auto& [top, exponent] : std::vector<std::pair<float, int>>{{0.0f, 0},
                                                                          {1.0f, 0},
                                                                          {32767.9f, 0},
                                                                          {32768.0f, 1},
                                                                          {65504.0f, 1},
                                                                          {65536.0f, 2},
                                                                          {696000.0f, 5},
                                                                          {0x1.fffffep+127f, 113},
                                                                          {0x1p-149f, 0}}) {
      const std::vector<float> x = {top / 2, -top, 0.25f * (top < 1 ? top : 1)};
      const Encoded encoded(*table, WireType::f16, x.data(), 3, 1, 3);
      EXPECT_EQ(encoded.exponents[0], exponent) << table->name << " " << top;
      const uint16_t second = static_cast<uint16_t>(encoded.data[2] | (encoded.data[3] << 8));
      EXPECT_EQ(second, to_f16(std::ldexp(-top, -exponent)).bits) << table->name << " " << top;
    }
  }
}

TEST(RowsWire, ASenderRefusesWhatIsNotFinite) {
  for (const KernelTable* table : runnable_tables()) {
    for (const WireType type : kWireTypes) {
      for (const float bad : {NAN, INFINITY, -INFINITY, 3.4e38f}) {
        if (bad == 3.4e38f && type != WireType::bf16) continue;  // infinite in bf16 alone
        for (const size_t column : {0u, 15u, 16u, 40u}) {
          Random random(2);
          std::vector<float> rows(3 * 41);
          fill(rows.data(), rows.size(), Values::normal, random);
          rows[2 * 41 + column] = bad;
          rows[2 * 41 + 40] = bad;
          const Encoded encoded(*table, type, rows.data(), 41, 3, 41);
          EXPECT_EQ(encoded.fault.row, 2u) << table->name << " " << bad;
          EXPECT_EQ(encoded.fault.column, column) << table->name << " " << bad;
        }
      }
    }
  }
}

TEST(RowsWire, AReceiverRefusesWhatIsNotFinite) {
  for (const KernelTable* table : runnable_tables()) {
    for (const WireType type : kWireTypes) {
      Random random(2);
      const size_t n = 41;
      std::vector<float> rows(3 * n), back(3 * n);
      fill(rows.data(), rows.size(), Values::normal, random);
      const Encoded good(*table, type, rows.data(), n, 3, n);
      const auto decode = [&](const std::vector<uint8_t>& data, const std::vector<int8_t>& e) {
        Guarded<uint8_t> bytes(data.size());
        std::copy(data.begin(), data.end(), bytes.begin());
        return table->rows.wire_decode(type, bytes.data(), e.data(), 3, n, back.data(), n);
      };
      const std::vector<uint8_t> data(good.data.data(), good.data.data() + good.data.size());
      std::vector<int8_t> exponents(3, 0);
      EXPECT_EQ(decode(data, exponents).row, 3u);
      const size_t row_bytes = wire_data_bytes(type, n);
      // The element 33 of row 1, or its group's scale.
      const bool grouped = type == WireType::q8 || type == WireType::q4;
      const size_t offset = type == WireType::f32  ? 33 * 4
                            : type == WireType::q8 ? 34
                            : type == WireType::q4 ? 18
                                                   : 33 * 2;
      for (const uint8_t high : {uint8_t{0x7f}, uint8_t{0xff}}) {
        std::vector<uint8_t> bad = data;
        const size_t width = type == WireType::f32 ? 4 : 2;
        for (size_t i = 0; i < width; ++i) bad[row_bytes + offset + i] = 0xff;
        bad[row_bytes + offset + width - 1] = high;
        const RowFault fault = decode(bad, exponents);
        EXPECT_EQ(fault.row, 1u) << table->name;
        EXPECT_EQ(fault.column, grouped ? 32u : 33u) << table->name;
      }
      if (!wire_has_exponents(type)) continue;
      for (const int wrong : {-128, -1, 114, 127}) {
        exponents[2] = static_cast<int8_t>(wrong);
        EXPECT_EQ(decode(data, exponents).row, 2u) << table->name << " " << wrong;
        EXPECT_EQ(decode(data, exponents).column, n) << table->name << " " << wrong;
      }
      // A legal exponent that makes a value infinite.
      exponents = {0, 113, 0};
      std::vector<uint8_t> large = data;
      const size_t at = row_bytes + (grouped ? 0 : 7 * 2);
      large[at] = 0xff;
      large[at + 1] = 0x7b;  // 65504
      if (type == WireType::q8) large[at + 2 + 7] = 127;
      if (type == WireType::q4) large[at + 2 + 7] = 0x80;
      EXPECT_EQ(decode(large, exponents).row, 1u) << table->name;
    }
  }
}

// Any bytes at all: no crash, nothing outside the buffers, a finite row or a refusal.
TEST(RowsWire, AReceiverSurvivesRandomBytes) {
  for (const KernelTable* table : runnable_tables()) {
    Random random(3);
    size_t refused = 0;
    for (int round = 0; round < 3000; ++round) {
      const WireType type = kWireTypes[random.below(5)];
      const size_t n = 1 + random.below(70);
      Guarded<uint8_t> data(wire_data_bytes(type, n) * 2);
      Guarded<int8_t> exponents(2);
      Guarded<float> rows(2 * n);
      for (uint8_t& byte : data) byte = static_cast<uint8_t>(random.bits());
      for (int8_t& e : exponents) e = static_cast<int8_t>(random.below(120));
      const RowFault fault =
          table->rows.wire_decode(type, data.data(), exponents.data(), 2, n, rows.data(), n);
      const size_t whole = std::min<size_t>(fault.row, 2) * n;
      refused += fault.row < 2 ? 1 : 0;
      for (size_t i = 0; i < whole; ++i) ASSERT_TRUE(std::isfinite(rows[i])) << table->name;
    }
    EXPECT_GT(refused, 100u);
    EXPECT_LT(refused, 2900u);
  }
}

}  // namespace
}  // namespace splitd::kernels

// The header parser: what it reads, and one refusal for every rule.
#include "runtime/model/formats/gguf.h"

#include <gtest/gtest.h>

#include "tests/runtime/model/formats/format_files.h"

namespace splitd {
namespace {

std::string error_of(std::string_view file) {
  const Result<GgufHeader> header = parse_gguf_header(as_bytes(file));
  if (header) return "accepted";
  EXPECT_EQ(header.error().kind, ErrorKind::model);
  EXPECT_EQ(header.error().message.find('\n'), std::string::npos);
  return header.error().message;
}
std::string error_of(const GgufBuilder& builder) {
  return error_of(builder.build());
}

// Whether the error holds these words.
testing::AssertionResult says(const std::string& error, std::string_view words) {
  if (error.find(words) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << error;
}

GgufBuilder two_tensors() {
  GgufBuilder out;
  out.string("general.architecture", "llama").u32("n", 7);
  out.tensors.push_back({"a", {2, 3}, 0, std::string(24, 'a')});
  out.tensors.push_back({"b", {64, 2}, 2, std::string(72, 'b')});
  return out;
}

TEST(Gguf, ReadsTensorsOutermostFirst) {
  const std::string file = two_tensors().build();
  const Result<GgufHeader> header = parse_gguf_header(as_bytes(file));
  ASSERT_TRUE(header.ok()) << header.error().message;
  ASSERT_EQ(header->tensors.size(), 2u);
  const TensorInfo& a = header->tensors[0];
  const TensorInfo& b = header->tensors[1];
  EXPECT_EQ(shape_text(a.shape), "[3, 2]");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(file.substr(a.begin, a.bytes), std::string(24, 'a'));
  EXPECT_EQ(shape_text(b.shape), "[2, 64]");
  EXPECT_EQ(b.dtype, DType::q4_0);
  EXPECT_EQ(file.substr(b.begin, b.bytes), std::string(72, 'b'));
  EXPECT_EQ(b.begin % 32, 0u);
  ASSERT_EQ(header->metadata.size(), 2u);
  EXPECT_EQ(header->metadata[1].value.to_u64(), 7u);
}

TEST(Gguf, EveryCutIsRefused) {
  GgufBuilder builder = two_tensors();
  builder.pad_last = false;
  const std::string file = builder.build();
  EXPECT_EQ(error_of(file), "accepted");
  for (size_t length = 0; length < file.size(); ++length) {
    ASSERT_NE(error_of(file.substr(0, length)), "accepted") << length;
  }
}

// The first bytes of a file say either that more are needed or what all of it says.
TEST(Gguf, TheFirstBytesAreEnoughOrNot) {
  const std::string good = two_tensors().build();
  GgufBuilder lying = two_tensors();
  lying.tensors[1].ne[1] = 3;  // beyond the end
  const std::string bad = lying.build();
  for (const std::string& file : {good, bad}) {
    const Result<GgufHeader> whole = parse_gguf_header(as_bytes(file));
    size_t n_needs_more = 0;
    for (size_t length = 4; length <= file.size(); ++length) {
      const std::string_view first = std::string_view(file).substr(0, length);
      const Result<std::optional<GgufHeader>> header =
          parse_gguf_header(as_bytes(first), file.size());
      if (header && !*header) {
        ++n_needs_more;
        EXPECT_EQ(n_needs_more, length - 3) << "needed more before, and not in between";
        continue;
      }
      ASSERT_EQ(header.ok(), whole.ok()) << length;
      if (header) {
        EXPECT_EQ((*header)->tensors.size(), whole->tensors.size());
        EXPECT_EQ((*header)->data_begin, whole->data_begin);
      } else {
        EXPECT_EQ(header.error().message, whole.error().message);
      }
    }
    EXPECT_GT(n_needs_more, 50u);
    EXPECT_LT(n_needs_more, file.size() - 96) << "the data is not the header's";
  }
}

TEST(Gguf, PaddingAfterTheLastTensorAndNoMore) {
  GgufBuilder builder = two_tensors();
  builder.pad_last = false;
  const std::string file = builder.build();
  EXPECT_EQ(error_of(file + std::string(31, 'x')), "accepted");
  EXPECT_TRUE(says(error_of(file + std::string(32, 'x')), "32 bytes follow the last tensor"));
}

TEST(Gguf, NoTensorsNoData) {
  GgufBuilder builder;
  builder.u32("k", 1);
  EXPECT_EQ(error_of(builder), "accepted");
  EXPECT_EQ(error_of(GgufBuilder()), "accepted");
  EXPECT_TRUE(says(error_of(builder.build() + std::string(100, 'x')), "follow the last tensor"));
}

TEST(Gguf, OtherFormatsAndVersions) {
  EXPECT_TRUE(says(error_of(""), "not GGUF"));
  EXPECT_TRUE(says(error_of("GGU"), "not GGUF"));
  EXPECT_TRUE(says(error_of("ggjt\3\0\0\0"), "not GGUF"));
  EXPECT_TRUE(says(error_of("GGUF"), "ends early"));
  for (uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    GgufBuilder builder = two_tensors();
    builder.version = version;
    EXPECT_TRUE(says(error_of(builder), "GGUF version " + std::to_string(version)));
  }
  GgufBuilder builder = two_tensors();
  builder.version = 2;  // laid out as 3 is
  EXPECT_EQ(error_of(builder), "accepted");
  builder.version = 0x03000000u;
  EXPECT_TRUE(says(error_of(builder), "big-endian"));
}

TEST(Gguf, CountsAreBoundedByCapAndByFile) {
  GgufBuilder builder = two_tensors();
  builder.extra_tensors = 100;
  EXPECT_TRUE(says(error_of(builder), "counts 102 tensors"));
  builder.extra_tensors = 1;
  EXPECT_NE(error_of(builder), "accepted");
  builder.extra_tensors = UINT64_MAX - 2;
  EXPECT_TRUE(says(error_of(builder), "counts 18446744073709551615 tensors"));
  builder = two_tensors();
  builder.n_kv = uint64_t{1} << 63;
  EXPECT_TRUE(says(error_of(builder), "counts 9223372036854775808 metadata keys"));
  builder = GgufBuilder();
  builder.n_kv = kMaxGgufKeys + 1;
  builder.kvs = std::string(13 * (kMaxGgufKeys + 1), '\0');
  EXPECT_TRUE(says(error_of(builder), "at most 65536 are accepted"));
}

TEST(Gguf, LengthsAreBounded) {
  const auto with_value = [](GgufType type, const std::string& value) {
    GgufBuilder builder;
    builder.kv("k", type, value);
    return error_of(builder);
  };
  EXPECT_TRUE(
      says(with_value(GgufType::string, le64(UINT64_MAX)), "metadata \"k\": the file ends early"));
  EXPECT_TRUE(says(with_value(GgufType::string, le64(5) + "abcd"), "5 bytes from byte"));
  EXPECT_EQ(with_value(GgufType::string, le64(4) + "abcd"), "accepted");
  EXPECT_TRUE(
      says(with_value(GgufType::array, GgufBuilder::array(GgufType::u64, uint64_t{1} << 61, "")),
           "2305843009213693952 items"));
  EXPECT_TRUE(says(with_value(GgufType::array, GgufBuilder::array(GgufType::u64, 100000, "")),
                   "ends early"));
  EXPECT_TRUE(says(
      with_value(GgufType::array, GgufBuilder::array(GgufType::string, 3, std::string(23, '\0'))),
      "ends early"));
  EXPECT_TRUE(says(with_value(static_cast<GgufType>(13), "x"), "unknown value type 13"));
  EXPECT_TRUE(says(with_value(GgufType::array, le32(13) + le64(0)), "unknown value type 13"));
  EXPECT_TRUE(says(with_value(GgufType::boolean, "\2"), "a bool of value 2"));
  EXPECT_TRUE(says(
      with_value(GgufType::array, GgufBuilder::array(GgufType::boolean, 2, std::string("\0\3", 2))),
      "a bool of value 3"));
}

TEST(Gguf, ArraysNestFourDeep) {
  const auto nested = [](uint32_t depth) {
    std::string value = GgufBuilder::array(GgufType::u8, 2, "ab");
    for (uint32_t i = 1; i < depth; ++i)
      value = GgufBuilder::array(GgufType::array, 2, value + value);
    GgufBuilder builder;
    return builder.kv("k", GgufType::array, value).u32("z", 9).build();
  };
  const std::string file = nested(4);
  const Result<GgufHeader> header = parse_gguf_header(as_bytes(file));
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->metadata[1].value.to_u64(), 9u);
  size_t inner = 0;
  for (const GgufValue item : header->metadata[0].value.elements()) inner += item.size();
  EXPECT_EQ(inner, 4u);
  EXPECT_FALSE(header->metadata[0].value.to_i64s().has_value());
  EXPECT_TRUE(says(error_of(nested(5)), "nested deeper than 4"));
  // Opening brackets without end: 8 bytes of file a level.
  GgufBuilder deep;
  std::string value;
  for (int i = 0; i < 100000; ++i) value += GgufBuilder::array(GgufType::array, 1, "");
  EXPECT_TRUE(says(error_of(deep.kv("k", GgufType::array, value)), "nested deeper than 4"));
}

TEST(Gguf, NamesAreUtf8AndUnique) {
  GgufBuilder builder = two_tensors();
  builder.tensors[1].name = "a";
  EXPECT_TRUE(says(error_of(builder), "tensor \"a\" stands twice"));
  builder.tensors[1].name = "\xff";
  EXPECT_TRUE(says(error_of(builder), "is not UTF-8"));
  builder.tensors[1].name = std::string(65536, 'x');
  EXPECT_TRUE(says(error_of(builder), "a name of 65536 bytes"));
  builder = two_tensors();
  builder.u32("n", 8);
  EXPECT_TRUE(says(error_of(builder), "metadata \"n\" stands twice"));
  builder = two_tensors();
  builder.u32("\xc0\xaf", 8);
  EXPECT_TRUE(says(error_of(builder), "metadata key 2"));
}

TEST(Gguf, Alignment) {
  for (uint32_t alignment : {1u, 8u, 64u, 4096u}) {
    GgufBuilder builder = two_tensors();
    builder.u32("general.alignment", alignment);
    builder.alignment = alignment;
    EXPECT_EQ(error_of(builder), "accepted") << alignment;
  }
  for (uint32_t alignment : {0u, 3u, 33u, 1u << 21, 0x80000000u}) {
    GgufBuilder builder = two_tensors();
    builder.u32("general.alignment", alignment);
    EXPECT_TRUE(
        says(error_of(builder), "general.alignment is the u32 " + std::to_string(alignment)));
  }
  GgufBuilder builder = two_tensors();
  builder.kv("general.alignment", GgufType::u64, le64(32));
  EXPECT_TRUE(says(error_of(builder), "general.alignment is the u64 32; a u32"));
}

TEST(Gguf, PlacesInTheFile) {
  const auto second_at = [](const std::function<uint64_t(uint64_t)>& change) {
    GgufBuilder builder = two_tensors();
    builder.offset = [&change](size_t i, uint64_t at) { return i == 1 ? change(at) : at; };
    return error_of(builder);
  };
  EXPECT_EQ(second_at([](uint64_t at) { return at; }), "accepted");
  EXPECT_TRUE(
      says(second_at([](uint64_t at) { return at + 1; }), "no multiple of the alignment 32"));
  EXPECT_TRUE(says(second_at([](uint64_t at) { return at + 32; }),
                   "tensor \"b\": a hole: it begins at byte 64"));
  EXPECT_TRUE(says(second_at([](uint64_t) { return 0; }), "overlaps"));
  EXPECT_TRUE(says(second_at([](uint64_t) { return uint64_t{0} - 32; }), "a hole"));
  GgufBuilder builder = two_tensors();
  builder.offset = [](size_t, uint64_t at) { return at + 32; };
  EXPECT_TRUE(says(error_of(builder), "tensor \"a\": a hole"));
  builder = two_tensors();
  builder.tensors[1].ne = {64, 1000};
  EXPECT_TRUE(says(error_of(builder),
                   "tensor \"b\": it begins at byte 32 of the data and takes 36000 bytes"));
  builder.tensors[1].ne = {32, uint64_t{1} << 57};
  EXPECT_TRUE(says(error_of(builder), "is it truncated?"));
}

TEST(Gguf, ShapesAndTypes) {
  const auto with = [](std::vector<uint64_t> ne, uint32_t type) {
    GgufBuilder builder = two_tensors();
    builder.tensors[1].ne = std::move(ne);
    builder.tensors[1].type = type;
    return error_of(builder);
  };
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  EXPECT_EQ(with({2, 3, 3, 1}, 0), "accepted");
  EXPECT_EQ(with({18}, 0), "accepted");
  EXPECT_TRUE(says(with({1, 1, 1, 1, 18}, 0), "5 dimensions; at most 4"));
  EXPECT_TRUE(says(with({kHuge, kHuge}, 0), "larger than 64 bits can count"));
  EXPECT_TRUE(says(with({kHuge}, 0), "larger than 64 bits can count"));
  EXPECT_TRUE(says(with({kHuge + 4, 4}, 0), "larger than 64 bits can count"));  // wraps to 64 bytes
  EXPECT_TRUE(
      says(with({48, 2}, 2), "rows of 48 values are no multiple of the 32 in a block of Q4_0"));
  EXPECT_TRUE(says(with({128}, 12), "rows of 128 values are no multiple of the 256"));
  EXPECT_TRUE(says(with({}, 2), "rows of 1 values"));
  EXPECT_TRUE(says(with({256}, 16), "its type IQ2_XXS is not supported; supported are F32, F16"));
  EXPECT_TRUE(says(with({256}, 39), "its type MXFP4 is not supported"));
  EXPECT_TRUE(says(with({256}, 42), "unknown type 42"));
  EXPECT_TRUE(says(with({256}, 0xffffffffu), "unknown type 4294967295"));
}

TEST(GgufValues, ConvertWithoutLoss) {
  const auto value = [](GgufType type, const std::string& bytes, auto check) {
    check(GgufValue(type, as_bytes(bytes).data()));
  };
  value(GgufType::u8, "\xff", [](GgufValue v) {
    EXPECT_EQ(v.to_u64(), 255u);
    EXPECT_EQ(v.to_i64(), 255);
    EXPECT_EQ(v.to_f64(), 255.0);
    EXPECT_FALSE(v.to_bool() || v.to_string() || v.element_type() || v.to_strings() || v.to_i64s());
    EXPECT_EQ(v.size(), 0u);
    EXPECT_EQ(v.describe(), "the u8 255");
  });
  value(GgufType::i8, "\xff", [](GgufValue v) {
    EXPECT_EQ(v.to_i64(), -1);
    EXPECT_FALSE(v.to_u64().has_value());
    EXPECT_EQ(v.describe(), "the i8 -1");
  });
  value(GgufType::u64, le(UINT64_MAX), [](GgufValue v) {
    EXPECT_EQ(v.to_u64(), UINT64_MAX);
    EXPECT_FALSE(v.to_i64().has_value());
    EXPECT_FALSE(v.to_f64().has_value());
  });
  value(GgufType::i64, le(INT64_MIN), [](GgufValue v) {
    EXPECT_EQ(v.to_i64(), INT64_MIN);
    EXPECT_FALSE(v.to_f64().has_value());
  });
  value(GgufType::i64, le((int64_t{1} << 53) + 1),
        [](GgufValue v) { EXPECT_FALSE(v.to_f64().has_value()); });
  value(GgufType::f32, le(0.5f), [](GgufValue v) {
    EXPECT_EQ(v.to_f64(), 0.5);
    EXPECT_FALSE(v.to_u64() || v.to_i64());
    EXPECT_EQ(v.describe(), "the f32 0.5");
  });
  value(GgufType::boolean, std::string(1, '\1'), [](GgufValue v) {
    EXPECT_EQ(v.to_bool(), true);
    EXPECT_FALSE(v.to_u64().has_value());
  });
  value(GgufType::string, GgufBuilder::text("a\nb"), [](GgufValue v) {
    EXPECT_EQ(v.to_string(), "a\nb");
    EXPECT_EQ(v.describe(), "the string \"a\\nb\"");
    EXPECT_EQ(v.bytes(), 11u);
  });
  value(GgufType::array, GgufBuilder::array(GgufType::i16, 2, std::string("\xff\xff\x01\0", 4)),
        [](GgufValue v) {
          EXPECT_EQ(v.to_i64s(), (std::vector<int64_t>{-1, 1}));
          EXPECT_FALSE(v.to_strings() || v.to_f32s());
          EXPECT_EQ(v.describe(), "an array of 2 i16");
          EXPECT_EQ(v.bytes(), 16u);
        });
  value(GgufType::array, GgufBuilder::array(GgufType::u64, 1, le(UINT64_MAX)),
        [](GgufValue v) { EXPECT_FALSE(v.to_i64s().has_value()); });
  value(GgufType::array, GgufBuilder::array(GgufType::f64, 1, le(0.25)),
        [](GgufValue v) { EXPECT_EQ(v.to_f32s(), (std::vector<float>{0.25f})); });
}

}  // namespace
}  // namespace splitd

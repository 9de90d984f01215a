#include "runtime/base/json.h"

#include <gtest/gtest.h>

namespace splitd {
namespace {

std::string error_of(std::string_view text, JsonLimits limits = {}) {
  const Result<JsonDoc> doc = JsonDoc::parse_view(text, limits);
  return doc.ok() ? "accepted" : doc.error().message;
}

std::string round_trip(std::string_view text) {
  const Result<JsonDoc> doc = JsonDoc::parse_view(text);
  return doc.ok() ? JsonWriter().copy(doc->root()).take() : doc.error().message;
}

TEST(Json, KeepsValuesAndOrder) {
  EXPECT_EQ(round_trip(R"( {"b" : [1, -0, 2.50, 1e400, 123456789012345678901234567890],
                            "a":{"x":null,"y":true,"z":false},"":"","e":[],"o":{}} )"),
            R"({"b":[1,-0,2.50,1e400,123456789012345678901234567890],)"
            R"("a":{"x":null,"y":true,"z":false},"":"","e":[],"o":{}})");
}

TEST(Json, ReadsOneTextAfterAnother) {
  JsonDoc doc;
  ASSERT_TRUE(doc.read_view(R"({"a": [1, "x\ty"], "b": {}})").ok());
  EXPECT_EQ(doc.root().find("a")->size(), 2u);
  EXPECT_FALSE(doc.read_view("[[[").ok());
  ASSERT_TRUE(doc.read_view(R"(["\n"])").ok());
  EXPECT_EQ(doc.root().size(), 1u);
  EXPECT_EQ((*doc.root().elements().begin()).text(), "\n");
}

TEST(Json, WritesOneTextAfterAnother) {
  JsonWriter json;
  json.begin_object().field("a", 1.5);  // left open
  json.clear();
  json.begin_array().number(uint64_t{7}).end_array();
  EXPECT_EQ(json.text(), "[7]");
}

TEST(Json, ReadsScalarsAtTheTop) {
  EXPECT_EQ(round_trip("7"), "7");
  EXPECT_EQ(round_trip(" null "), "null");
  EXPECT_EQ(round_trip("\"x\""), "\"x\"");
}

TEST(Json, FindsMembersAndElements) {
  const Result<JsonDoc> doc = JsonDoc::parse(R"({"a":[10,{"k":[[]]},30],"b":"x"})");
  ASSERT_TRUE(doc.ok());
  const Json root = doc->root();
  EXPECT_EQ(root.size(), 2u);
  EXPECT_EQ(root.find("b")->to_string(), "x");
  EXPECT_FALSE(root.find("c"));
  std::vector<std::string> shown;
  for (const Json item : root.find("a")->elements()) shown.push_back(item.describe());
  EXPECT_EQ(shown, (std::vector<std::string>{"10", "an object of 1", "30"}));
}

TEST(Json, NumbersKeepTheirKind) {
  const Result<JsonDoc> doc =
      JsonDoc::parse("[18446744073709551615,18446744073709551616,-0,2.0,-5,1e999,1e-999,0]");
  ASSERT_TRUE(doc.ok());
  std::vector<Json> items;
  for (const Json item : doc->root().elements()) items.push_back(item);
  EXPECT_EQ(items[0].to_u64(), 18446744073709551615u);
  EXPECT_FALSE(items[1].to_u64());
  EXPECT_FALSE(items[2].to_u64());
  EXPECT_EQ(items[2].to_i64(), 0);
  EXPECT_FALSE(items[3].to_u64());
  EXPECT_FALSE(items[3].is_integer());
  EXPECT_EQ(items[3].to_f64(), 2.0);
  EXPECT_EQ(items[4].to_i64(), -5);
  EXPECT_FALSE(items[5].to_f64());
  EXPECT_EQ(items[6].to_f64(), 0.0);
  EXPECT_EQ(items[7].to_u64(), 0u);
}

TEST(Json, UnescapesStrings) {
  const Result<JsonDoc> doc = JsonDoc::parse(R"(["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000z"])");
  ASSERT_TRUE(doc.ok());
  const std::string_view text = (*doc->root().elements().begin()).text();
  EXPECT_EQ(text, std::string_view("\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\0z", 16));
}

TEST(Json, RefusesWithLineAndColumn) {
  EXPECT_EQ(error_of("{\n  \"a\": 1,\n}"), "not JSON at line 3, column 1: expected a quoted key");
  EXPECT_EQ(error_of("{\"a\":1,\"\\u0061\":2}"),
            "not JSON at line 1, column 18: the key \"a\" stands twice in one object");
}

TEST(Json, RefusesWhatIsNotJson) {
  const char* const cases[] = {"",
                               " ",
                               "{",
                               "[",
                               "[1,]",
                               "[1 2]",
                               "{\"a\"}",
                               "{\"a\":}",
                               "{a:1}",
                               "{\"a\":1,}",
                               "01",
                               "-",
                               "1.",
                               ".5",
                               "1e",
                               "+1",
                               "0x1",
                               "NaN",
                               "Infinity",
                               "tru",
                               "nulll",
                               "'a'",
                               "\"a",
                               "\"\\x\"",
                               "\"\\u12\"",
                               "\"\\ud800\"",
                               "\"\\ud800\\u0041\"",
                               "\"\\udc00\"",
                               "\"\x01\"",
                               "\"a\nb\"",
                               "\"\xff\"",
                               "\xef\xbb\xbf{}",
                               "{}{}",
                               "[]]",
                               "// c\n1",
                               "{\"a\":1 \"b\":2}",
                               "[1}",
                               "{\"a\":1]"};
  for (const char* text : cases) EXPECT_NE(error_of(text), "accepted") << text;
  EXPECT_NE(error_of(std::string_view("1\0", 2)), "accepted");
  EXPECT_NE(error_of(std::string_view("\"\0\"", 3)), "accepted");
}

TEST(Json, FindsTheDuplicateAmongManyKeys) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i)
    text += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  EXPECT_EQ(error_of(text + "\"z\":0}"), "accepted");
  EXPECT_NE(error_of(text + "\"k500\":0}").find("\"k500\" stands twice"), std::string::npos);
}

TEST(Json, BoundsDepthAndSize) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(error_of(nested(128)), "accepted");
  EXPECT_NE(error_of(nested(129)).find("deeper than 128"), std::string::npos);
  EXPECT_NE(error_of(nested(1000000)).find("deeper"), std::string::npos);
  EXPECT_NE(error_of("[1,2,3]", {.max_bytes = 6}).find("7 bytes; at most 6"), std::string::npos);
  EXPECT_EQ(error_of("[1,2,3]", {.max_nodes = 4}), "accepted");
  EXPECT_NE(error_of("[1,2,3]", {.max_nodes = 3}).find("more than 3 values"), std::string::npos);
}

TEST(Json, EverySpecialByteEndsTheFastScan) {
  for (size_t pad = 0; pad < 24; ++pad) {
    const std::string fill(pad, 'x');
    EXPECT_EQ(round_trip("\"" + fill + "\\n" + fill + "\""), "\"" + fill + "\\n" + fill + "\"");
    EXPECT_NE(error_of("\"" + fill + "\x1f" + fill + "\""), "accepted");
    EXPECT_EQ(error_of("\"" + fill + "\x7f\xc3\xa9" + fill + "\""), "accepted");
  }
}

TEST(Json, MovingTheDocumentKeepsViews) {
  Result<JsonDoc> doc = JsonDoc::parse(R"({"a":"b"})");
  ASSERT_TRUE(doc.ok());
  const Json root = doc->root();
  const JsonDoc moved = std::move(*doc);
  EXPECT_EQ(root.find("a")->text(), "b");
}

TEST(JsonWriter, IndentsAsJsonDumps) {
  JsonWriter writer(2);
  writer.begin_object().field("a", 1).key("b").begin_array().number(2.5).null().end_array();
  writer.key("c").begin_object().end_object().field("d", "x\xff\n").end_object();
  EXPECT_EQ(writer.text(),
            "{\n  \"a\": 1,\n  \"b\": [\n    2.5,\n    null\n  ],\n  \"c\": {},\n"
            "  \"d\": \"x\xef\xbf\xbd\\n\"\n}");
}

}  // namespace
}  // namespace splitd

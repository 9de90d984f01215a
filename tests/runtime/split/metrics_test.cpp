// The page that Prometheus reads, parsed back by its grammar.
#include "runtime/split/metrics.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <sstream>

#include "runtime/split/body_metrics.h"

namespace splitd {
namespace {

struct Family {
  std::string type;
  bool has_help = false;
  std::map<std::string, double> samples;  // by name and labels
};

// Every line is HELP, TYPE or a sample, in this order for each family; no family comes twice.
std::map<std::string, Family> parse(const std::string& page) {
  static const std::regex help("# HELP ([a-z_]+) (.+)");
  static const std::regex type("# TYPE ([a-z_]+) (counter|gauge|histogram)");
  static const std::regex sample(
      R"re(([a-z_]+)(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? ([0-9.e+-]+))re");
  std::map<std::string, Family> families;
  std::string current;
  EXPECT_FALSE(page.empty());
  EXPECT_EQ(page.back(), '\n');
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      current = match[1];
      EXPECT_TRUE(families.emplace(current, Family()).second) << line;
      families[current].has_help = true;
    } else if (std::regex_match(line, match, type)) {
      EXPECT_EQ(current, match[1]) << line;
      families[current].type = match[2];
    } else if (std::regex_match(line, match, sample)) {
      const std::string name = match[1];
      EXPECT_EQ(name.compare(0, current.size(), current), 0) << line;
      EXPECT_TRUE(
          families[current].samples.emplace(name + match[2].str(), std::stod(match[6])).second)
          << line;
    } else {
      ADD_FAILURE() << "not a line of the format: " << line;
    }
  }
  return families;
}

TEST(Metrics, TheParserOfThisTestRefusesOtherLines) {
  EXPECT_NONFATAL_FAILURE(parse("# HELP a b\n# TYPE a counter\na{x=y} 1\n"), "not a line");
}

TEST(Metrics, HistogramsAreCumulative) {
  Histogram histogram{0.5, 1, 2};
  for (const double value : {0.1, 0.5, 0.6, 1.0, 1.5, 7.0, 8.0}) histogram.add(value);
  MetricsText text;
  text.histogram("a_seconds", "Something.", histogram);
  const std::map<std::string, Family> families = parse(text.take());
  const std::map<std::string, double>& samples = families.at("a_seconds").samples;
  EXPECT_EQ(families.at("a_seconds").type, "histogram");
  EXPECT_EQ(samples.at(R"(a_seconds_bucket{le="0.5"})"), 2);
  EXPECT_EQ(samples.at(R"(a_seconds_bucket{le="1"})"), 4);
  EXPECT_EQ(samples.at(R"(a_seconds_bucket{le="2"})"), 5);
  EXPECT_EQ(samples.at(R"(a_seconds_bucket{le="+Inf"})"), 7);
  EXPECT_EQ(samples.at("a_seconds_count"), 7);
  EXPECT_DOUBLE_EQ(samples.at("a_seconds_sum"), 18.7);
  EXPECT_EQ(samples.size(), 6u);
}

TEST(Metrics, LabelsAreEscaped) {
  MetricsText text;
  text.family("a", "gauge", "b");
  text.sample(3, {{"name", "x\"y\\z\nw"}, {"other", ""}});
  const std::string page = text.take();
  EXPECT_NE(page.find(R"(a{name="x\"y\\z\nw",other=""} 3)"), std::string::npos) << page;
  parse(page);
}

TEST(Metrics, ABodysPage) {
  BodyMetrics metrics;
  metrics.refusals[static_cast<size_t>(Refusal::full)] = 3;
  metrics.rows = 12;
  metrics.step_seconds.add(0.003);
  metrics.batch_sessions.add(4);
  const std::map<std::string, Family> families = parse(metrics.page(
      {.attached = 2, .detached = 1, .used = {3, 100, 4096}}, {.connections = 5, .bytes_in = 77}));
  for (const auto& [name, family] : families) {
    EXPECT_TRUE(family.has_help && !family.type.empty() && !family.samples.empty()) << name;
    EXPECT_EQ(name.ends_with("_total"), family.type == "counter") << name;
  }
  const auto value = [&](const std::string& family, const std::string& sample) {
    return families.at(family).samples.at(sample);
  };
  EXPECT_EQ(value("splitd_sessions", R"(splitd_sessions{state="attached"})"), 2);
  EXPECT_EQ(value("splitd_sessions", R"(splitd_sessions{state="detached"})"), 1);
  EXPECT_EQ(value("splitd_refusals_total", R"(splitd_refusals_total{code="full"})"), 3);
  EXPECT_EQ(value("splitd_refusals_total", R"(splitd_refusals_total{code="version"})"), 0);
  EXPECT_EQ(value("splitd_rows_total", "splitd_rows_total"), 12);
  EXPECT_EQ(value("splitd_reserved_rows", "splitd_reserved_rows"), 100);
  EXPECT_EQ(value("splitd_kv_bytes", "splitd_kv_bytes"), 4096);
  EXPECT_EQ(value("splitd_connections", "splitd_connections"), 5);
  EXPECT_EQ(value("splitd_received_bytes_total", "splitd_received_bytes_total"), 77);
  EXPECT_EQ(value("splitd_step_seconds", R"(splitd_step_seconds_bucket{le="0.005"})"), 1);
  EXPECT_EQ(value("splitd_step_seconds", R"(splitd_step_seconds_bucket{le="0.0025"})"), 0);
  EXPECT_EQ(value("splitd_batch_sessions", R"(splitd_batch_sessions_bucket{le="4"})"), 1);
}

}  // namespace
}  // namespace splitd

#include <gtest/gtest.h>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "tests/temp_dir.h"
#include "tools/doctor/kernel_files.h"
#include "tools/doctor/report.h"

namespace splitd::cli {
namespace {

TEST(Doctor, ReadsTheKernelsForms) {
  EXPECT_EQ(count_cpu_list("0"), 1u);
  EXPECT_EQ(count_cpu_list("0-3,8"), 5u);
  EXPECT_EQ(count_cpu_list(""), 0u);
  EXPECT_EQ(count_cpu_list("x"), 0u);
  EXPECT_EQ(count_cpu_list("3-1"), 0u);
  EXPECT_EQ(cgroup_quota("max 100000"), 0.0);
  EXPECT_EQ(cgroup_quota("150000 100000"), 1.5);
  EXPECT_EQ(cgroup_quota(""), 0.0);
  EXPECT_EQ(cgroup_quota("1 0"), 0.0);

  const TempDir dir;
  const std::string path = dir.path() + "/meminfo";
  ASSERT_TRUE(write_file(path, "MemTotal:       16 kB\nMemFree:  8 kB\nMemTotal: 9 kB\n").ok());
  EXPECT_EQ(kernel_number(kernel_field(path, "MemTotal")), 16u);
  EXPECT_EQ(kernel_field(path, "Mem"), "");
  EXPECT_EQ(kernel_file(path), "MemTotal:       16 kB");
  EXPECT_EQ(kernel_file(dir.path() + "/none"), "");
}

TEST(Doctor, ShowsBytesBriefly) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(48 << 10), "48 KiB");
  EXPECT_EQ(bytes_text(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(bytes_text((uint64_t{1} << 40) * 300), "300 TiB");
}

TEST(Doctor, CountsCoresThatMayBeUsed) {
  EXPECT_EQ(usable_cores({.n_logical = 8, .n_physical = 4, .n_allowed = 8}), 4u);
  EXPECT_EQ(usable_cores({.n_logical = 8, .n_physical = 4, .n_allowed = 2}), 2u);
  EXPECT_EQ(usable_cores({.n_logical = 8, .n_allowed = 8, .cgroup_cores = 2.5}), 2u);
  EXPECT_EQ(usable_cores({.n_logical = 8, .n_allowed = 8, .cgroup_cores = 0.1}), 1u);
  EXPECT_EQ(usable_cores({}), 1u);
}

TEST(Doctor, FindsThisMachine) {
  const CpuFacts cpu = cpu_facts();
  EXPECT_GT(cpu.n_logical, 0u);
  EXPECT_GT(cpu.n_allowed, 0u);
  EXPECT_FALSE(cpu.features.empty());
#if defined(__x86_64__)
  const auto usable = [&](std::string_view name) {
    for (const CpuFeature& feature : cpu.features) {
      if (feature.name == name) return feature.usable;
    }
    ADD_FAILURE() << name << " is not looked for";
    return false;
  };
  EXPECT_EQ(usable("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(usable("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(usable("avx512bw"), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(usable("avx512_vnni"), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(usable("avx512_bf16"), __builtin_cpu_supports("avx512bf16") != 0);
#endif
  const MemoryFacts memory = memory_facts();
  EXPECT_GT(memory.total_bytes, uint64_t{64} << 20);
  EXPECT_LE(memory.available_bytes, memory.total_bytes);
  const TempDir dir;
  EXPECT_EQ(disk_facts(dir.path() + "/not/yet").directory, dir.path());
  EXPECT_TRUE(disk_facts(dir.path()).writable);
  EXPECT_GT(disk_facts(dir.path()).free_bytes, 0u);
  EXPECT_EQ(disk_facts("/no/such").directory, "/");
}

TEST(Doctor, AdvisesOnlyWhatHelps) {
  DoctorReport report;
  report.limits.open_files = 256;
  report.memory.transparent_huge_pages = "never";
  report.cache_directory = "/models";
  report.libraries = {{"pcre2", "10.42", "no JIT: slow"}};
  const auto mentions = [&](std::string_view what) {
    for (const std::string& advice : make_advice(report)) {
      if (advice.find(what) != std::string::npos) return true;
    }
    return false;
  };
  EXPECT_TRUE(mentions("256"));
  EXPECT_TRUE(mentions("huge pages"));
  EXPECT_TRUE(mentions("not writable"));
  EXPECT_TRUE(mentions("JIT"));
  report.limits.open_files = LimitFacts::kUnlimited;
  report.memory.transparent_huge_pages = "madvise";
  report.cache_disk.writable = true;
  report.libraries[0].note = "JIT for x86";
  EXPECT_FALSE(mentions("files"));
  EXPECT_FALSE(mentions("huge pages"));
  EXPECT_FALSE(mentions("writable"));
  EXPECT_FALSE(mentions("JIT"));
}

TEST(Doctor, TextIsInTheJsonToo) {
  DoctorReport report;
  report.cpu.model = "A \"CPU\"";
  report.cpu.features = {{"avx2", true}, {"avx512f", false}};
  report.limits.locked_bytes = LimitFacts::kUnlimited;
  report.libraries = {{"pcre2", "10.42", "JIT"}};
  report.choices = {{"isa", "avx2", "the best"}};
  const Result<JsonDoc> doc = JsonDoc::parse(report_json(report));
  ASSERT_TRUE(doc.ok()) << doc.error().message;
  EXPECT_EQ(doc->root().find("cpu")->find("features")->find("avx2")->to_bool(), true);
  EXPECT_EQ(doc->root().find("cpu")->find("features")->find("avx512f")->to_bool(), false);
  EXPECT_EQ(doc->root().find("choices")->find("isa")->find("value")->to_string(), "avx2");
  EXPECT_TRUE(doc->root().find("limits")->find("locked_bytes")->is_null());
  const std::string text = report_text(report);
  EXPECT_NE(text.find("has        avx2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("lacks      avx512f\n"), std::string::npos) << text;
  EXPECT_NE(text.find("isa avx2 (the best)\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace splitd::cli

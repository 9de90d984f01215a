#include "tools/doctor/report.h"

#include <cstdio>

#include "runtime/base/json.h"
#include "tools/app.h"

namespace splitd::cli {
namespace {

constexpr std::string_view kCompiler =
#if defined(__clang__)
    "clang " __clang_version__;
#else
    "g++ " __VERSION__;
#endif

constexpr bool kOptimised =
#ifdef NDEBUG
    true;
#else
    false;
#endif

std::string limit_text(uint64_t value, bool is_bytes) {
  if (value == LimitFacts::kUnlimited) return "unlimited";
  return is_bytes ? bytes_text(value) : std::to_string(value);
}

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB/s", bytes / 1e9);
  return text;
}

class TextReport {
 public:
  void line(std::string_view label, std::string_view text) {
    char head[20];
    std::snprintf(head, sizeof head, "%-12.*s ", static_cast<int>(label.size()), label.data());
    out_ += head + std::string(text) + "\n";
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void cpu_text(TextReport& text, const CpuFacts& cpu) {
  text.line("CPU", (cpu.model.empty() ? std::string("unknown") : cpu.model) + " (" +
                       std::string(cpu.architecture) + ")");
  std::string cores = std::to_string(cpu.n_logical) + " logical";
  if (cpu.n_physical != 0) cores += ", " + std::to_string(cpu.n_physical) + " physical";
  cores += ", " + std::to_string(cpu.n_allowed) + " allowed here";
  if (cpu.cgroup_cores > 0) {
    char quota[48];
    std::snprintf(quota, sizeof quota, ", limited to %.2g by the cgroup", cpu.cgroup_cores);
    cores += quota;
  }
  text.line("  cores", cores);
  std::string usable;
  std::string missing;
  for (const CpuFeature& feature : cpu.features) {
    (feature.usable ? usable : missing) += " " + std::string(feature.name);
  }
  text.line("  has", usable.empty() ? "-" : usable.substr(1));
  text.line("  lacks", missing.empty() ? "-" : missing.substr(1));
  std::string caches;
  for (const CpuCache& cache : cpu.caches) {
    caches += (caches.empty() ? "L" : ", L") + std::to_string(cache.level) +
              (cache.type == "Data"          ? "d "
               : cache.type == "Instruction" ? "i "
                                             : " ") +
              bytes_text(cache.bytes);
    if (!cache.shared_with.empty() && cache.level > 2) {
      caches += " for CPUs " + cache.shared_with;
    }
  }
  if (!caches.empty()) text.line("  caches", caches);
}

void memory_text(TextReport& text, const DoctorReport& report) {
  const MemoryFacts& memory = report.memory;
  std::string line =
      bytes_text(memory.total_bytes) + ", " + bytes_text(memory.available_bytes) + " available";
  if (memory.cgroup_bytes != 0) line += ", cgroup limit " + bytes_text(memory.cgroup_bytes);
  text.line("Memory", line);
  if (report.read_bytes_per_second > 0) {
    text.line("  reads", gigabytes(report.read_bytes_per_second) + " with " +
                             std::to_string(usable_cores(report.cpu)) + " threads");
  }
  text.line("  huge pages", (memory.transparent_huge_pages.empty()
                                 ? "transparent: unknown"
                                 : "transparent: " + memory.transparent_huge_pages) +
                                ", reserved: " + std::to_string(memory.reserved_huge_pages));
}

std::string gpu_text(const GpuFacts& gpu) {
  std::string line =
      gpu.devices.empty() ? "none found" : std::to_string(gpu.devices.size()) + " NVIDIA device(s)";
  if (!gpu.driver.empty()) line += ", driver " + gpu.driver;
  for (const std::string& device : gpu.cuda_devices) line += "; " + device;
  if (!gpu.built_with_cuda) return line + "; built without CUDA";
  return line + "; built with CUDA" +
         (gpu.cuda_problem.empty() ? "" : ", which says: " + gpu.cuda_problem) +
         (gpu.cublas.empty() ? "" : "; " + gpu.cublas);
}

}  // namespace

std::string bytes_text(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  const bool whole = value >= 100 || value == static_cast<double>(static_cast<int64_t>(value));
  std::snprintf(text, sizeof text, whole ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::vector<Choice> make_choices(const DoctorReport& report) {
  std::vector<Choice> choices;
  choices.push_back(report.device);
  choices.push_back(report.isa);
  choices.push_back({"threads", std::to_string(usable_cores(report.cpu)),
                     "one for each physical core that this process may use"});
  return choices;
}

std::vector<std::string> make_advice(const DoctorReport& report) {
  std::vector<std::string> advice;
  if (!kOptimised) advice.push_back("this is a debug build: build with -DCMAKE_BUILD_TYPE=Release");
  if (report.memory.transparent_huge_pages == "never") {
    advice.push_back("transparent huge pages are off: 'madvise' makes large buffers faster");
  }
  if (report.limits.open_files < 1024) {
    advice.push_back("few files may be open at once (" + std::to_string(report.limits.open_files) +
                     "): raise 'ulimit -n' on the cloud end");
  }
  for (const LibraryFacts& library : report.libraries) {
    if (library.name == "pcre2" && library.note.starts_with("no JIT")) {
      advice.push_back("PCRE2 was built without its JIT");
    }
  }
  if (!report.cache_directory.empty() && !report.cache_disk.writable) {
    advice.push_back("nothing can be pulled: " + report.cache_disk.directory + " is not writable");
  }
  return advice;
}

std::string report_text(const DoctorReport& report) {
  TextReport text;
  text.line("splitd", std::string(version()) + ", " + std::string(kCompiler) +
                          (kOptimised ? ", release" : ", debug"));
  cpu_text(text, report.cpu);
  memory_text(text, report);
  text.line("GPU", gpu_text(report.gpu));
  text.line("Limits", "open files " + limit_text(report.limits.open_files, false) + " (hard " +
                          limit_text(report.limits.open_files_hard, false) + "), locked memory " +
                          limit_text(report.limits.locked_bytes, true));
  if (!report.cache_directory.empty()) {
    text.line("Models in", report.cache_directory + ", " +
                               bytes_text(report.cache_disk.free_bytes) + " free" +
                               (report.cache_disk.writable ? "" : ", not writable"));
  }
  for (size_t i = 0; i < report.libraries.size(); ++i) {
    const LibraryFacts& library = report.libraries[i];
    text.line(i == 0 ? "Libraries" : "",
              library.name + " " + library.version +
                  (library.note.empty() ? std::string() : " (" + library.note + ")"));
  }
  for (size_t i = 0; i < report.choices.size(); ++i) {
    const Choice& choice = report.choices[i];
    text.line(i == 0 ? "Would use" : "",
              choice.what + " " + choice.value + " (" + choice.why + ")");
  }
  for (const std::string& advice : report.advice) text.line("Advice", advice);
  return text.take();
}

namespace {

void cpu_json(JsonWriter& json, const CpuFacts& cpu) {
  json.key("cpu").begin_object();
  json.field("model", cpu.model).field("architecture", cpu.architecture);
  json.field("logical_cores", cpu.n_logical);
  json.field("physical_cores", cpu.n_physical).field("allowed_cores", cpu.n_allowed);
  if (cpu.cgroup_cores > 0) json.field("cgroup_cores", cpu.cgroup_cores);
  json.key("features").begin_object();
  for (const CpuFeature& feature : cpu.features) json.field(feature.name, feature.usable);
  json.end_object();
  json.key("caches").begin_array();
  for (const CpuCache& cache : cpu.caches) {
    json.begin_object().field("level", cache.level).field("type", cache.type);
    json.field("bytes", cache.bytes).field("shared_with", cache.shared_with).end_object();
  }
  json.end_array().end_object();
}

void limit_json(JsonWriter& json, std::string_view name, uint64_t value) {
  json.key(name);
  if (value == LimitFacts::kUnlimited) {
    json.null();
  } else {
    json.number(value);
  }
}

void memory_json(JsonWriter& json, const DoctorReport& report) {
  const MemoryFacts& memory = report.memory;
  json.key("memory").begin_object();
  json.field("total_bytes", memory.total_bytes);
  json.field("available_bytes", memory.available_bytes);
  if (memory.cgroup_bytes != 0) json.field("cgroup_bytes", memory.cgroup_bytes);
  json.field("page_bytes", memory.page_bytes);
  json.field("transparent_huge_pages", memory.transparent_huge_pages);
  json.field("reserved_huge_pages", memory.reserved_huge_pages);
  if (report.read_bytes_per_second > 0) {
    json.field("read_bytes_per_second", report.read_bytes_per_second);
  }
  json.end_object();
}

}  // namespace

std::string report_json(const DoctorReport& report) {
  JsonWriter json(2);
  json.begin_object();
  json.field("version", version()).field("compiler", kCompiler).field("optimised", kOptimised);
  cpu_json(json, report.cpu);
  memory_json(json, report);
  json.key("gpu").begin_object().field("built_with_cuda", report.gpu.built_with_cuda);
  json.field("driver", report.gpu.driver).key("devices").begin_array();
  for (const std::string& device : report.gpu.devices) json.string(device);
  json.end_array().key("cuda_devices").begin_array();
  for (const std::string& device : report.gpu.cuda_devices) json.string(device);
  json.end_array().field("cuda_problem", report.gpu.cuda_problem);
  json.field("cublas", report.gpu.cublas).end_object();
  json.key("limits").begin_object();
  limit_json(json, "open_files", report.limits.open_files);
  limit_json(json, "open_files_hard", report.limits.open_files_hard);
  limit_json(json, "locked_bytes", report.limits.locked_bytes);
  json.end_object();
  if (!report.cache_directory.empty()) {
    json.key("models").begin_object().field("directory", report.cache_directory);
    json.field("free_bytes", report.cache_disk.free_bytes);
    json.field("writable", report.cache_disk.writable).end_object();
  }
  json.key("libraries").begin_object();
  for (const LibraryFacts& library : report.libraries) {
    json.key(library.name).begin_object().field("version", library.version);
    if (!library.note.empty()) json.field("note", library.note);
    json.end_object();
  }
  json.end_object();
  json.key("choices").begin_object();
  for (const Choice& choice : report.choices) {
    json.key(choice.what).begin_object().field("value", choice.value);
    json.field("why", choice.why).end_object();
  }
  json.end_object().key("advice").begin_array();
  for (const std::string& advice : report.advice) json.string(advice);
  json.end_array().end_object();
  return json.take() + "\n";
}

}  // namespace splitd::cli

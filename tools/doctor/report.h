// Owns: the two forms of what `splitd doctor` found. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/doctor/facts.h"

namespace splitd::cli {

struct Choice {
  std::string what;  // "device", "threads", "isa"
  std::string value;
  std::string why;
};

struct DoctorReport {
  CpuFacts cpu;
  MemoryFacts memory;
  LimitFacts limits;
  std::string cache_directory;  // where pulled models go
  DiskFacts cache_disk;
  GpuFacts gpu;
  std::vector<LibraryFacts> libraries;
  Choice device;                       // what --device auto takes
  Choice isa;                          // which kernels would run
  double read_bytes_per_second = 0.0;  // 0: not measured
  std::vector<Choice> choices;
  std::vector<std::string> advice;  // what to change, where something is worth changing
};

// What would be chosen here and why, and what could be better.
[[nodiscard]] std::vector<Choice> make_choices(const DoctorReport& report);
[[nodiscard]] std::vector<std::string> make_advice(const DoctorReport& report);

[[nodiscard]] std::string report_text(const DoctorReport& report);
[[nodiscard]] std::string report_json(const DoctorReport& report);

// "1.5 GiB", "48 KiB".
[[nodiscard]] std::string bytes_text(uint64_t bytes);

}  // namespace splitd::cli

// `splitd doctor`: what this machine offers and what splitd would do with it.
#include <cstdlib>

#include "kernels/select.h"
#include "runtime/model/hub/pulled.h"
#include "tools/commands.h"
#include "tools/doctor/report.h"
#include "tools/generate/device.h"

namespace splitd::cli {
namespace {

Choice device_choice() {
  const Result<DeviceChoice> chosen = choose_device("auto");  // never refuses
  if (!chosen || !chosen->is_cuda) return {"device", "cpu", chosen ? chosen->why : ""};
  return {"device", "cuda:" + std::to_string(chosen->index), chosen->why};
}

// The kernels that would run. A SPLITD_ISA that cannot be had is a finding, not a failure of
// doctor.
Choice isa_choice() {
  const char* wanted = std::getenv("SPLITD_ISA");
  const Result<const kernels::KernelTable*> table =
      kernels::select_table(wanted == nullptr ? "" : wanted);
  if (!table) return {"isa", "none", table.error().message};
  std::string why =
      wanted != nullptr && *wanted != '\0' ? "SPLITD_ISA says so; could be" : "the best of";
  std::string_view separator = " ";
  for (const kernels::KernelTable* runnable : kernels::runnable_tables()) {
    why += std::string(separator) + runnable->name;
    separator = ", ";
  }
  return {"isa", (*table)->name, why};
}

Status run_doctor(Context& context) {
  DoctorReport report;
  report.cpu = cpu_facts();
  report.memory = memory_facts();
  report.limits = limit_facts();
  if (const Result<std::string> cache = cache_directory()) {
    report.cache_directory = *cache;
    report.cache_disk = disk_facts(*cache);
  }
  report.gpu = gpu_facts();
  report.device = device_choice();
  report.isa = isa_choice();
  report.libraries = library_facts();
  if (context.flag("measure")) {
    report.read_bytes_per_second =
        measured_read_speed(report.cpu, report.memory, usable_cores(report.cpu));
  }
  report.choices = make_choices(report);
  report.advice = make_advice(report);
  context.out().write(context.flag("json") ? report_json(report) : report_text(report));
  return {};
}

}  // namespace

Command doctor_command() {
  return {
      .name = "doctor",
      .summary = "what this machine offers, what would be chosen and why",
      .flags = {{.flags = {{.name = "json", .help = "one JSON object on stdout"},
                           {.name = "measure",
                            .help = "also measure how fast memory is read (a second or two)"}}}},
      .examples = {{"splitd doctor"}, {"splitd doctor --json --measure"}},
      .run = run_doctor};
}

}  // namespace splitd::cli

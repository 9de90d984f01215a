// `splitd doctor`: what this machine offers and what splitd would do with it.
#include "tools/commands.h"
#include "tools/doctor/report.h"

namespace splitd::cli {
namespace {

Status run_doctor(Context& context) {
  DoctorReport report;
  report.cpu = cpu_facts();
  report.memory = memory_facts();
  report.limits = limit_facts();
  report.gpu = gpu_facts();
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

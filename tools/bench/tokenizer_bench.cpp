// Our half of tokenizer_bench.py: opens one tokenizer, then encodes the file named on each line of
// stdin once and answers with the milliseconds of this thread's CPU time and the number of ids.
#include <ctime>
#include <iostream>
#include <string>

#include "runtime/base/files.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace {

double cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace splitd;
  if (argc != 2) {
    std::cerr << "usage: tokenizer_bench TOKENIZER < names of files\n";
    return 2;
  }
  const double opened = cpu_ms();
  const Result<Tokenizer> tokenizer = Tokenizer::open(argv[1]);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << '\n';
    return static_cast<int>(tokenizer.error().kind);
  }
  std::cout << cpu_ms() - opened << " " << tokenizer->n_vocab() << std::endl;
  for (std::string name; std::getline(std::cin, name);) {
    const Result<std::string> text = read_file(name);
    if (!text) {
      std::cerr << text.error().message << '\n';
      return 1;
    }
    const double begin = cpu_ms();
    const Result<std::vector<uint32_t>> ids = tokenizer->encode(*text);
    const double end = cpu_ms();
    if (!ids) {
      std::cerr << ids.error().message << '\n';
      return 1;
    }
    std::cout << end - begin << " " << ids->size() << std::endl;
  }
  return 0;
}

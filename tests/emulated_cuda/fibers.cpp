// Blocks of fibers behind cuda_runtime.h.
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include <cuda_runtime.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SPLITD_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPLITD_FIBER_ASAN 1
#endif
#endif
#if defined(SPLITD_FIBER_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulated {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr unsigned kWarp = 32;

// Switching stacks without a system call, which ucontext makes each time.
#if defined(__x86_64__)
extern "C" void emulated_switch(void** save, void* to);
asm(R"(
.text
.globl emulated_switch
.type emulated_switch,@function
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_switch,.-emulated_switch
)");
using Context = void*;
#else
using Context = ucontext_t;
#endif

enum class State { ready, at_barrier, in_warp, done };

struct Copy {
  void* to;
  const void* from;
  unsigned bytes;
  unsigned size;
};

struct Fiber {
  Context context;
  std::unique_ptr<unsigned char[]> stack;
  dim3 index;
  State state = State::done;
  unsigned n_exchange = 0;  // warp operations so far
  std::vector<Copy> copies;
#if defined(SPLITD_FIBER_ASAN)
  void* fake_stack = nullptr;
#endif
};

struct Warp {
  alignas(64) unsigned char lanes[2][kWarp * kLaneBytes];  // by parity of the operation
  unsigned n_arrived = 0;
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<unsigned char> shared;
Context scheduler;
unsigned current = 0;
void (*body)(const void*) = nullptr;
const void* body_arguments = nullptr;
const char* kernel = "";
#if defined(SPLITD_FIBER_ASAN)
void* scheduler_fake = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_bytes = 0;
#endif

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "emulated CUDA: %s: block (%u,%u,%u) thread %u: %s\n", kernel, blockIdx.x,
               blockIdx.y, blockIdx.z, current, what);
  std::abort();
}

void to_scheduler() {
  Fiber& self = fibers[current];
#if defined(SPLITD_FIBER_ASAN)
  __sanitizer_start_switch_fiber(self.state == State::done ? nullptr : &self.fake_stack,
                                 scheduler_stack, scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  emulated_switch(&self.context, scheduler);
#else
  swapcontext(&self.context, &scheduler);
#endif
#if defined(SPLITD_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(self.fake_stack, nullptr, nullptr);
#endif
}

void fiber_main() {
#if defined(SPLITD_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  body(body_arguments);
  if (!fibers[current].copies.empty()) die("a copy that nobody waited for");
  fibers[current].state = State::done;
  to_scheduler();
  std::abort();  // nobody resumes a fiber that is done
}

void prepare(Fiber& fiber) {
  if (!fiber.stack) fiber.stack.reset(new unsigned char[kStackBytes]);
#if defined(__x86_64__)
  // As a call would leave it: after the return address is popped, rsp is 8 below a multiple of 16.
  auto top = reinterpret_cast<uintptr_t>(fiber.stack.get() + kStackBytes) & ~uintptr_t{15};
  auto* slots = reinterpret_cast<void**>(top);
  *--slots = nullptr;
  *--slots = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--slots = nullptr;
  fiber.context = slots;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
#endif
  fiber.state = State::ready;
  fiber.n_exchange = 0;
}

void resume(unsigned index) {
  current = index;
  threadIdx = fibers[index].index;
#if defined(SPLITD_FIBER_ASAN)
  __sanitizer_start_switch_fiber(&scheduler_fake, fibers[index].stack.get(), kStackBytes);
#endif
#if defined(__x86_64__)
  emulated_switch(&scheduler, fibers[index].context);
#else
  swapcontext(&scheduler, &fibers[index].context);
#endif
#if defined(SPLITD_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
}

void run_block(unsigned n_thread) {
  for (unsigned i = 0; i < n_thread; ++i) {
    prepare(fibers[i]);
    const unsigned rest = i / blockDim.x;
    fibers[i].index = dim3(i % blockDim.x, rest % blockDim.y, rest / blockDim.y);
  }
  for (Warp& warp : warps) warp.n_arrived = 0;
  while (true) {
    bool moved = false;
    unsigned n_done = 0, n_barrier = 0;
    for (unsigned i = 0; i < n_thread; ++i) {
      while (fibers[i].state == State::ready) {
        moved = true;
        resume(i);
      }
      n_done += fibers[i].state == State::done ? 1 : 0;
      n_barrier += fibers[i].state == State::at_barrier ? 1 : 0;
    }
    if (n_done == n_thread) return;
    if (n_barrier == n_thread) {
      for (unsigned i = 0; i < n_thread; ++i) fibers[i].state = State::ready;
    } else if (!moved) {
      die(n_barrier != 0 ? "a barrier that not all threads reach"
                         : "a warp operation that not all lanes reach");
    }
  }
}

}  // namespace

void run(const char* name, dim3 grid, dim3 block, size_t shared_bytes, void (*work)(const void*),
         const void* arguments) {
  const unsigned n_thread = block.x * block.y * block.z;
  kernel = name;
  if (n_thread == 0 || n_thread > kMostThreads) die("a block of no size that a GPU takes");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
    die("a grid of no size that a GPU takes");
  }
  if (fibers.size() < n_thread) fibers.resize(n_thread);
  warps.resize((n_thread + kWarp - 1) / kWarp);
  body = work;
  body_arguments = arguments;
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        shared.assign(shared_bytes + 128, 0xff);  // NaN, whatever it is read as
        run_block(n_thread);
      }
    }
  }
}

unsigned char* dynamic_shared() {
  const auto at = reinterpret_cast<uintptr_t>(shared.data());
  return shared.data() + ((at + 127) / 128 * 128 - at);
}

const unsigned char* warp_exchange(const void* mine, size_t bytes) {
  if (bytes > kLaneBytes) die("too many bytes a lane");
  const unsigned n_thread = blockDim.x * blockDim.y * blockDim.z;
  const unsigned first = current / kWarp * kWarp, lane = current % kWarp;
  if (first + kWarp > n_thread) die("a warp operation in a warp of fewer than 32 threads");
  Warp& warp = warps[current / kWarp];
  Fiber& self = fibers[current];
  // A lane is at most one operation ahead of one that still reads: two buffers are enough.
  unsigned char* lanes = warp.lanes[self.n_exchange % 2];
  ++self.n_exchange;
  std::memcpy(lanes + lane * kLaneBytes, mine, bytes);
  if (++warp.n_arrived < kWarp) {
    self.state = State::in_warp;
    to_scheduler();
    return lanes;
  }
  warp.n_arrived = 0;
  for (unsigned i = first; i < first + kWarp; ++i) {
    if (fibers[i].n_exchange != self.n_exchange) die("lanes of a warp in different operations");
    fibers[i].state = State::ready;
  }
  return lanes;
}

void copy_async(void* to, const void* from, unsigned bytes, unsigned size) {
  fibers[current].copies.push_back({to, from, bytes, size});
}

void wait_for_copies() {
  for (const Copy& copy : fibers[current].copies) {
    if (copy.bytes != 0) std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(static_cast<unsigned char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
  }
  fibers[current].copies.clear();
}

}  // namespace emulated

void __syncthreads() {
  emulated::fibers[emulated::current].state = emulated::State::at_barrier;
  emulated::to_scheduler();
}

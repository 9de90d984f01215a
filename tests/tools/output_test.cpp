#include "tools/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"
#include "tests/tools/sample_command.h"
#include "tools/app.h"
#include "tools/interrupt.h"
#include "tools/progress_bar.h"

namespace splitd::cli {
namespace {

TEST(Output, WritesInOrderWhateverTheSizes) {
  const TempDir dir;
  const std::string path = dir.path() + "/out";
  std::string expected;
  {
    const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT, 0600));
    Output out(file.get(), "stdout");
    for (const size_t size :
         {size_t{0}, size_t{1}, size_t{65'536}, size_t{10}, size_t{200'000}, size_t{3}}) {
      const std::string text(size, static_cast<char>('a' + expected.size() % 26));
      out.write(text);
      expected += text;
    }
    EXPECT_TRUE(out.flush().ok());
  }
  EXPECT_EQ(*read_file(path), expected);
}

TEST(Output, KeepsTheFirstFailure) {
  const FileDescriptor full(::open("/dev/full", O_WRONLY));
  ASSERT_TRUE(full.valid());
  Output out(full.get(), "stdout");
  out.write("x");
  EXPECT_TRUE(out.ok());  // only buffered
  EXPECT_FALSE(out.flush().ok());
  EXPECT_FALSE(out.ok());
  EXPECT_EQ(out.flush().error().message, "cannot write to stdout: No space left on device");
  out.write(std::string(1 << 20, 'x'));
  EXPECT_EQ(out.flush().error().kind, ErrorKind::failed);
}

// Whoever shares a pipe may have made it non-blocking.
TEST(Output, WaitsForANonBlockingPipe) {
  std::array<int, 2> fds{-1, -1};
  ASSERT_EQ(::pipe2(fds.data(), O_NONBLOCK), 0);
  const FileDescriptor read_end(fds[0]);
  FileDescriptor write_end(fds[1]);
  const std::string text(1 << 20, 'x');
  std::string seen;
  std::thread reader([&] {
    std::array<char, 4096> part;
    while (true) {
      const ssize_t count = ::read(read_end.get(), part.data(), part.size());
      if (count == 0) return;
      if (count > 0) {
        seen.append(part.data(), static_cast<size_t>(count));
      } else {
        pollfd ready{read_end.get(), POLLIN, 0};
        (void)::poll(&ready, 1, -1);
      }
    }
  });
  {
    Output out(write_end.get(), "stdout");
    out.write(text);
    EXPECT_TRUE(out.flush().ok());
  }
  write_end = FileDescriptor();
  reader.join();
  EXPECT_EQ(seen, text);
}

TEST(Interrupt, TheFirstIsRememberedTheSecondKills) {
  EXPECT_EXIT(
      {
        if (interrupted()) std::_Exit(1);
        watch_interrupts();
        ::raise(SIGINT);
        std::_Exit(interrupted() ? 42 : 2);
      },
      testing::ExitedWithCode(42), "");
  EXPECT_EXIT(
      {
        watch_interrupts();
        ::raise(SIGINT);
        ::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(
      {
        ::signal(SIGINT, SIG_IGN);  // as nohup starts a program
        watch_interrupts();
        ::raise(SIGINT);
        std::_Exit(interrupted() ? 1 : 43);
      },
      testing::ExitedWithCode(43), "");
}

TEST(Output, PrintableShowsWhatItHides) {
  EXPECT_EQ(printable("plain ünï 漢"), "plain ünï 漢");
  EXPECT_EQ(printable("a\nb\x1b[0m\x7f"), "a\\x0ab\\x1b[0m\\x7f");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // C1: CSI
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(ProgressLine, FitsItsWidth) {
  Progress progress{.what = "model-00001-of-00004.safetensors", .done = 42, .total = 100};
  EXPECT_EQ(progress_line(progress, 65, 100),
            "model-00001-of-00004.safetensors  ━━━━━━━━━━──────────────   42%  1:05 left");
  EXPECT_EQ(progress_line(progress, -1, 70),
            "model-00001-of-00004…  ━━━━━━━━━━──────────────   42%");
  EXPECT_EQ(progress_line(progress, -1, 20), "model-00001-of… 42%");
  EXPECT_EQ(progress_line(progress, -1, 3), "42");
  progress = {.what = "rows", .done = 7, .total = 0};
  EXPECT_EQ(progress_line(progress, -1, 80), "rows  7");
  progress = {.what = "\x1b[2J", .done = 200, .total = 100};
  EXPECT_EQ(progress_line(progress, 3700, 80),
            "\\x1b[2J  ━━━━━━━━━━━━━━━━━━━━━━━━  100%  1:01:40 left");
}

// A context whose stdout and stderr are files of the test's.
class ContextTest : public testing::Test {
 protected:
  ContextTest() {
    const auto open = [&](const char* name) {
      return FileDescriptor(::open((dir_.path() + name).c_str(), O_RDWR | O_CREAT, 0600));
    };
    in_ = open("/in");
    out_ = open("/out");
    err_ = open("/err");
  }
  Streams streams() const { return {in_.get(), out_.get(), err_.get()}; }
  std::string text(const char* name) const { return *read_file(dir_.path() + name); }

  int run(const std::vector<std::string>& words, Status (*body)(Context&)) {
    std::vector<Command> commands = {sample_command()};
    commands[0].run = body;
    return run_app(commands, words, streams());
  }

  TempDir dir_;
  FileDescriptor in_, out_, err_;
};

TEST_F(ContextTest, GivesValuesFallbacksAndNothing) {
  const int code = run({"sample", "m", "--json", "--stop", "x", "--layers", "2:5"},
                       [](Context& context) -> Status {
                         EXPECT_TRUE(context.given("MODEL"));
                         EXPECT_FALSE(context.given("PROMPT"));
                         EXPECT_EQ(context.argument("MODEL"), "m");
                         EXPECT_EQ(context.argument("PROMPT"), "");
                         EXPECT_TRUE(context.flag("json"));
                         EXPECT_FALSE(context.flag("no-special"));
                         EXPECT_FALSE(context.given("max-tokens"));
                         EXPECT_EQ(context.integer("max-tokens"), 1024);
                         EXPECT_EQ(context.duration("retry-for"), std::chrono::seconds(60));
                         EXPECT_EQ(context.integer("seed"), 0);
                         EXPECT_EQ(context.real("temperature"), 0.0);
                         EXPECT_EQ(context.size_bytes("memory"), 0u);
                         EXPECT_EQ(context.text("dtype"), "");
                         EXPECT_EQ(context.texts("stop"), std::vector<std::string>{"x"});
                         EXPECT_TRUE(context.integers("ids").empty());
                         EXPECT_EQ(context.range("layers"), (Range{2, 5}));
                         EXPECT_FALSE(context.stdin_is_terminal());
                         return {};
                       });
  EXPECT_EQ(code, 0);
}

TEST_F(ContextTest, AbortsOnABugInACommand) {
  const auto wrong_name = [](Context& context) -> Status {
    (void)context.flag("jsn");
    return {};
  };
  const auto wrong_kind = [](Context& context) -> Status {
    (void)context.integer("retry-for");
    return {};
  };
  EXPECT_DEATH((void)run_app(std::vector<Command>{[&] {
                               Command command = sample_command();
                               command.run = wrong_name;
                               return command;
                             }()},
                             std::vector<std::string>{"sample", "m"}, {}),
               "'jsn' of command 'sample' is not in its table");
  EXPECT_DEATH((void)run_app(std::vector<Command>{[&] {
                               Command command = sample_command();
                               command.run = wrong_kind;
                               return command;
                             }()},
                             std::vector<std::string>{"sample", "m"}, {}),
               "'retry-for' of command 'sample' is of another kind");
}

TEST_F(ContextTest, ErrorsEndWithTheirKind) {
  EXPECT_EQ(run({"sample", "m"}, [](Context&) -> Status { return peer_error("gone\n"); }), 3);
  EXPECT_EQ(text("/err"), "splitd: gone\\x0a\n");
  EXPECT_EQ(run({"sample", "m"}, [](Context&) -> Status { return model_error("bad"); }), 4);
  EXPECT_EQ(run({"sample", "m"}, [](Context&) -> Status { return interrupted_error(); }), 130);
  EXPECT_EQ(run({"sample"}, succeed), 2);
  EXPECT_EQ(text("/out"), "");
}

TEST_F(ContextTest, LogsByLevel) {
  const auto body = [](Context& context) -> Status {
    const Log log = context.log();
    log.debug("d");
    log.info("i");
    log.warning("w\x1b");
    return {};
  };
  EXPECT_EQ(run({"sample", "m", "--quiet"}, body), 0);
  EXPECT_EQ(text("/err"), "splitd: warning: w\\x1b\n");
  EXPECT_EQ(run({"sample", "m", "--verbose"}, body), 0);
  EXPECT_EQ(text("/err"),
            "splitd: warning: w\\x1b\nsplitd: d\nsplitd: i\nsplitd: warning: w\\x1b\n");
}

TEST_F(ContextTest, ProgressIsQuietWhereNobodyLooks) {
  EXPECT_EQ(run({"sample", "m"},
                [](Context& context) -> Status {
                  const ProgressFn progress = context.progress();
                  EXPECT_TRUE(progress({.what = "x", .done = 1, .total = 2}));
                  EXPECT_FALSE(context.cancelled());
                  return {};
                }),
            0);
  EXPECT_EQ(text("/err"), "");
}

}  // namespace
}  // namespace splitd::cli

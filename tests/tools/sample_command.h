// Two commands with every kind of flag, for the tests of the frame.
#pragma once

#include "tools/command.h"

namespace splitd::cli {

inline Status succeed(Context&) {
  return {};
}

inline Command sample_command() {
  return {
      .name = "sample",
      .summary = "a command with every kind of flag",
      .positionals = {{.name = "MODEL", .help = "what to open", .completes = Completes::model},
                      {.name = "PROMPT", .help = "what to say", .optional = true}},
      .flags =
          {{.flags = {{.name = "json", .help = "as JSON"},
                      {.name = "no-special", .help = "plain"},
                      {.name = "max-tokens",
                       .kind = FlagKind::integer,
                       .help = "how many",
                       .fallback = "1024",
                       .short_name = 'n',
                       .min = 1,
                       .max = 1e6},
                      {.name = "seed", .kind = FlagKind::integer, .help = "of the draws"},
                      {.name = "temperature", .kind = FlagKind::real, .help = "how wild", .min = 0},
                      {.name = "memory", .kind = FlagKind::size, .help = "at most"},
                      {.name = "retry-for",
                       .kind = FlagKind::duration,
                       .help = "how long",
                       .fallback = "60s"},
                      {.name = "system", .kind = FlagKind::text, .help = "first message"},
                      {.name = "stop",
                       .kind = FlagKind::text,
                       .help = "where to end",
                       .repeatable = true}}},
           {.title = "Places",
            .flags = {{.name = "dtype",
                       .kind = FlagKind::choice,
                       .help = "of the weights",
                       .choices = "bf16|f16|f32"},
                      {.name = "ids", .kind = FlagKind::integers, .help = "the prompt"},
                      {.name = "layers", .kind = FlagKind::range, .help = "only these"},
                      {.name = "psk-file", .kind = FlagKind::file, .help = "the key"},
                      {.name = "dir", .kind = FlagKind::directory, .help = "where to"}}}},
      .examples = {{"splitd sample model --json", "as JSON"}},
      .run = succeed};
}

inline Command other_command() {
  return {.name = "other",
          .summary = "another",
          .positionals = {{.name = "SHELL", .help = "which", .choices = "bash|zsh"},
                          {.name = "FILES",
                           .help = "all",
                           .completes = Completes::file,
                           .optional = true,
                           .repeats = true}},
          .flags = {{.flags = {{.name = "threads", .kind = FlagKind::integer, .help = "many"},
                               {.name = "seed", .kind = FlagKind::text, .help = "as a text"}}}},
          .run = succeed};
}

}  // namespace splitd::cli

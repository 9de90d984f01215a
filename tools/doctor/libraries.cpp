// The libraries that this binary runs with, as they themselves say.
#include <gnu/libc-version.h>
#include <utf8proc.h>

#include "tools/doctor/facts.h"
#include "tools/toml_reader.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#ifdef SPLITD_NET
#include <mbedtls/version.h>
#endif

namespace splitd::cli {
namespace {

std::string pcre2_text(uint32_t what) {
  const int length = pcre2_config(what, nullptr);
  if (length <= 0) return {};
  std::string text(static_cast<size_t>(length), '\0');
  if (pcre2_config(what, text.data()) <= 0) return {};
  return text.c_str();  // up to the NUL that PCRE2 counts
}

}  // namespace

std::vector<LibraryFacts> library_facts() {
  std::vector<LibraryFacts> libraries;
  libraries.push_back({"glibc", ::gnu_get_libc_version(), {}});

  uint32_t has_jit = 0;
  pcre2_config(PCRE2_CONFIG_JIT, &has_jit);
  libraries.push_back({"pcre2", pcre2_text(PCRE2_CONFIG_VERSION),
                       has_jit != 0 ? "JIT for " + pcre2_text(PCRE2_CONFIG_JITTARGET)
                                    : "no JIT: tokenizing is several times slower"});
  libraries.push_back(
      {"utf8proc", ::utf8proc_version(), "Unicode " + std::string(::utf8proc_unicode_version())});
#ifdef SPLITD_NET
  char version[18] = {};  // the size that its documentation asks for
  mbedtls_version_get_string(version);
  libraries.push_back({"mbedtls", version, {}});
#endif
  libraries.push_back({"toml++", std::string(toml_library_version()), "headers only"});
  return libraries;
}

}  // namespace splitd::cli

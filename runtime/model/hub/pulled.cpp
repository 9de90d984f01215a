#include "runtime/model/hub/pulled.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime/base/files.h"

namespace splitd {
namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool all_of(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return is_alnum(c) || others.find(c) != std::string_view::npos;
  });
}

// The hub's own rules. Without "--" the directory org--name means one repository only.
bool is_repo_part(std::string_view part) {
  const auto edge = [](char c) { return c == '.' || c == '-'; };
  return !part.empty() && part.size() <= 96 && all_of(part, "._-") && !edge(part.front()) &&
         !edge(part.back()) && part.find("--") == part.npos && part.find("..") == part.npos;
}

bool is_revision(std::string_view revision) {
  return !revision.empty() && revision.size() <= 200 && all_of(revision, "._-/") &&
         revision.front() != '/' && revision.front() != '-' && revision.front() != '.' &&
         revision.back() != '/' && revision.find("..") == revision.npos &&
         revision.find("//") == revision.npos && revision.find("/.") == revision.npos;
}

// Names in a directory, sorted; none where it cannot be read.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return names;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A pull of one named file is that file for whoever opens it.
std::string usable_path(const std::string& directory) {
  if (path_exists(directory + "/config.json")) return directory;
  std::vector<std::string> models;
  for (const std::string& name : names_in(directory)) {
    if (name.ends_with(".gguf")) models.push_back(directory + "/" + name);
  }
  return models.size() == 1 ? models.front() : directory;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool is_commit(std::string_view revision) {
  return revision.size() == 40 && std::all_of(revision.begin(), revision.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool looks_like_repo(std::string_view text) {
  return parse_repo_spec(text).ok();
}

Result<RepoSpec> parse_repo_spec(std::string_view text) {
  const size_t at = text.find('@');
  const std::string_view repo = text.substr(0, at);
  const size_t slash = repo.find('/');
  const bool good = slash != repo.npos && is_repo_part(repo.substr(0, slash)) &&
                    is_repo_part(repo.substr(slash + 1));
  if (!good) {
    return usage_error(
        "a model on the hub is written org/name or org/name@revision, with letters, "
        "digits and . _ - in each part");
  }
  RepoSpec spec{std::string(repo), "main"};
  if (at == text.npos) return spec;
  spec.revision = text.substr(at + 1);
  if (!is_revision(spec.revision)) {
    return usage_error(spec.repo +
                       ": a revision is a branch, a tag or a commit: letters, digits "
                       "and . _ - /");
  }
  return spec;
}

Result<std::string> cache_directory() {
  if (const std::string home = environment("SPLITD_HOME"); !home.empty()) return home + "/models";
  const std::string cache = environment("XDG_CACHE_HOME");
  if (cache.starts_with('/')) return cache + "/splitd/models";  // relative ones are to be ignored
  if (const std::string home = environment("HOME"); !home.empty()) {
    return home + "/.cache/splitd/models";
  }
  return failed("no place for pulled models: set SPLITD_HOME or HOME");
}

std::string repo_directory(const std::string& cache, const RepoSpec& spec) {
  std::string name = spec.repo;
  name.replace(name.find('/'), 1, "--");
  return cache + "/" + name;
}

std::string ref_path(const std::string& cache, const RepoSpec& spec) {
  std::string name;  // a revision may hold '/', which '%' makes a plain name
  for (const char c : spec.revision) name += c == '/' ? std::string("%2F") : std::string(1, c);
  return repo_directory(cache, spec) + "/refs/" + name;
}

std::string snapshots_path(const std::string& cache, const RepoSpec& spec) {
  return repo_directory(cache, spec) + "/snapshots";
}

Result<std::string> find_pulled(std::string_view model) {
  SPLITD_ASSIGN(const RepoSpec spec, parse_repo_spec(model));
  SPLITD_ASSIGN(const std::string cache, cache_directory());
  return find_pulled_in(cache, spec);
}

Result<std::string> find_pulled_in(const std::string& cache, const RepoSpec& spec) {
  const std::string wanted = spec.revision == "main" ? spec.repo : spec.repo + "@" + spec.revision;
  const Error missing =
      failed(wanted + " has not been pulled (looked in " + repo_directory(cache, spec) +
             "); fetch it with: splitd pull " + wanted);
  std::string commit = spec.revision;
  if (!is_commit(commit)) {
    const Result<std::string> ref = read_file(ref_path(cache, spec), 4096);
    if (!ref) return missing;
    commit = ref->substr(0, ref->find('\n'));
    if (!is_commit(commit)) return failed(ref_path(cache, spec) + ": not a commit");
  }
  const std::string snapshots = snapshots_path(cache, spec);
  if (is_directory(snapshots + "/" + commit)) return usable_path(snapshots + "/" + commit);
  std::vector<std::string> parts;
  for (const std::string& name : names_in(snapshots)) {
    if (name.starts_with(commit + ".")) parts.push_back(snapshots + "/" + name);
  }
  if (parts.empty()) return missing;
  if (parts.size() == 1) return usable_path(parts.front());
  std::string message = wanted + " was pulled in several parts; name the directory of one:";
  for (const std::string& part : parts) message += "\n  " + usable_path(part);
  return usage_error(std::move(message));
}

}  // namespace splitd

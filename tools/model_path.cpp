#include "tools/model_path.h"

#include "runtime/base/files.h"
#include "runtime/model/hub/pulled.h"
#include "tools/output.h"

namespace splitd::cli {

Result<std::string> resolve_model(std::string_view model) {
  const std::string path(model);
  if (path_exists(path)) return path;
  // "./a/b" and "/a/b" can only be meant as paths.
  if (looks_like_repo(model)) {
    Result<std::string> pulled = find_pulled(model);
    if (pulled) return pulled;
    return pulled.take_error().within("no such path, and as a model of the hub");
  }
  return failed("no such file or directory: " + quoted(model));
}

}  // namespace splitd::cli

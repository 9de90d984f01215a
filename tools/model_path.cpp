#include "tools/model_path.h"

#include "runtime/base/files.h"
#include "tools/output.h"
#ifdef SPLITD_HAS_HUB
#include "runtime/model/hub/pulled.h"
#endif

namespace splitd::cli {

Result<std::string> resolve_model(std::string_view model) {
  const std::string path(model);
  if (path_exists(path)) return path;
  return failed("no such file or directory: " + quoted(model));
}

}  // namespace splitd::cli

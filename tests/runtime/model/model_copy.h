// Golden models taken apart and put together again, changed: what the tests of opening, partial
// directories and fingerprints feed on.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/formats/safetensors_writer.h"
#include "runtime/model/formats/tensor_files.h"
#include "tests/runtime/model/golden.h"
#include "tests/temp_dir.h"

namespace splitd {

struct RawTensor {
  TensorInfo info;
  std::string bytes;
};

class ModelCopy {
 public:
  explicit ModelCopy(std::string_view golden) {
    const std::string from = golden_model(golden);
    const Result<TensorFiles> files = TensorFiles::open_safetensors(from);
    EXPECT_TRUE(files.ok());
    if (!files.ok()) return;
    for (const TensorInfo& tensor : files->tensors()) {
      const TensorView view = files->view(tensor);
      tensors.push_back(
          {tensor, std::string(reinterpret_cast<const char*>(view.data), view.bytes)});
    }
    config = read_file(from + "/config.json").value();
  }

  RawTensor& at(std::string_view name) {
    for (RawTensor& tensor : tensors) {
      if (tensor.info.name == name) return tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }

  void keep(const std::function<bool(const std::string&)>& wanted) {
    std::erase_if(tensors, [&](const RawTensor& tensor) { return !wanted(tensor.info.name); });
  }

  void rename(std::string_view from, std::string_view to) {
    for (RawTensor& tensor : tensors) {
      std::string& name = tensor.info.name;
      if (name.starts_with(from)) name = std::string(to) + name.substr(from.size());
    }
  }

  // The directory, written; it lives as long as this object.
  const std::string& write() {
    std::vector<TensorInfo> infos;
    for (const RawTensor& tensor : tensors) infos.push_back(tensor.info);
    Result<SafetensorsWriter> file =
        SafetensorsWriter::create(directory_.path() + "/model.safetensors", infos, metadata);
    EXPECT_TRUE(file.ok()) << file.error().message;
    for (const RawTensor& tensor : tensors) {
      EXPECT_TRUE(file->write(std::as_bytes(std::span(tensor.bytes))).ok());
    }
    EXPECT_TRUE(file->commit().ok());
    EXPECT_TRUE(write_file(directory_.path() + "/config.json", config).ok());
    return directory_.path();
  }

  std::vector<RawTensor> tensors;
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  std::string config;

 private:
  TempDir directory_;
};

}  // namespace splitd

// A certificate authority of the test's own, made at run time so that nothing in the repository
// expires. Written with mbedTLS's certificate writer, which net/ does not use.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace splitd::net {

struct TestIdentity {
  std::string certificate_pem;
  std::string key_pem;
};

struct TestNames {
  std::vector<std::string> dns = {};
  std::vector<std::string> ip = {};
  std::string common_name = "test";
  std::string not_before = "20200101000000";
  std::string not_after = "20991231235959";
};

class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();
  std::string certificate_pem() const;
  TestIdentity issue(const TestNames& names);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One for the whole test program, so that its keys are made once.
TestAuthority& test_authority();
// For localhost, 127.0.0.1 and ::1.
const TestIdentity& local_identity();

}  // namespace splitd::net

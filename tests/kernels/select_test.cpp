#include "kernels/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace splitd::kernels {
namespace {

TEST(Select, TheReferenceIsAlwaysThereAndFirst) {
  ASSERT_FALSE(runnable_tables().empty());
  EXPECT_EQ(runnable_tables().front()->isa, Isa::reference);
}

TEST(Select, TablesAscendInPriorityWithNamesOfTheirOwn) {
  const auto& tables = runnable_tables();
  for (size_t i = 1; i < tables.size(); ++i) {
    EXPECT_LT(tables[i - 1]->isa, tables[i]->isa);
    EXPECT_STRNE(tables[i - 1]->name, tables[i]->name);
  }
}

TEST(Select, NothingWantedGivesTheBest) {
  const auto table = select_table("");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(*table, runnable_tables().back());
}

TEST(Select, EachIsFoundByItsName) {
  for (const KernelTable* wanted : runnable_tables()) {
    const auto table = select_table(wanted->name);
    ASSERT_TRUE(table.ok()) << wanted->name;
    EXPECT_EQ(*table, wanted);
  }
}

TEST(Select, AnUnknownNameIsAnErrorThatListsTheKnown) {
  for (const char* wanted : {"avx", "AVX2", "avx2 ", "sse", "reference2"}) {
    const auto table = select_table(wanted);
    ASSERT_FALSE(table.ok()) << wanted;
    EXPECT_EQ(table.error().kind, ErrorKind::usage);
    EXPECT_NE(table.error().message.find(wanted), std::string::npos) << table.error().message;
    EXPECT_NE(table.error().message.find("reference"), std::string::npos);
  }
  const auto table = select_table(std::string(100000, 'x'));
  ASSERT_FALSE(table.ok());
  EXPECT_LT(table.error().message.size(), 400u);
}

TEST(Select, WhatTheMachineLacksIsAnErrorAndNotAnotherTable) {
  int lacking = 0;
  for (const char* name : {"avx2", "avx512", "avx512_bf16", "neon", "neon_dotprod", "neon_bf16"}) {
    const auto& tables = runnable_tables();
    if (std::any_of(tables.begin(), tables.end(),
                    [&](const KernelTable* t) { return std::strcmp(t->name, name) == 0; })) {
      continue;
    }
    ++lacking;
    const auto table = select_table(name);
    ASSERT_FALSE(table.ok()) << name;
    EXPECT_EQ(table.error().kind, ErrorKind::usage);
    EXPECT_NE(table.error().message.find(name), std::string::npos) << table.error().message;
    EXPECT_NE(table.error().message.find("it runs: reference"), std::string::npos)
        << table.error().message;
  }
  EXPECT_GE(lacking, 2);  // no machine is of two architectures
}

TEST(Select, NoProductIsMissing) {
  for (const KernelTable* table : runnable_tables()) {
    for (const MatmulSet* set : {&table->matmul.exact, &table->matmul.native}) {
      for (const MatmulKernel* kernel : {&set->f32, &set->bf16, &set->f16}) {
        EXPECT_NE(kernel->prepared_bytes, nullptr) << table->name;
        EXPECT_NE(kernel->prepare, nullptr) << table->name;
        EXPECT_NE(kernel->scratch_bytes, nullptr) << table->name;
        EXPECT_NE(kernel->run, nullptr) << table->name;
        EXPECT_NE(kernel->claim_rows, nullptr) << table->name;
        EXPECT_NE(kernel->order, nullptr) << table->name;
        if (table->isa !=
            Isa::reference) {  // each has its own: nothing is the reference in disguise
          EXPECT_NE(kernel->run, runnable_tables()[0]->matmul.exact.bf16.run) << table->name;
          EXPECT_NE(kernel->run, runnable_tables()[0]->matmul.exact.f16.run) << table->name;
          EXPECT_NE(kernel->run, runnable_tables()[0]->matmul.exact.f32.run) << table->name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace splitd::kernels

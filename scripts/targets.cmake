# How every target of the project is compiled, and the functions that declare one.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# Kernels add -O3 themselves; under a sanitizer the time goes elsewhere, and -O1 builds faster.
if(SPLITD_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O1")
else()
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
endif()

find_program(SPLITD_CCACHE ccache)
if(SPLITD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SPLITD_CCACHE})
endif()

add_library(splitd_flags INTERFACE)
target_include_directories(splitd_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(splitd_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  -fvisibility=hidden -fno-strict-aliasing)
target_compile_definitions(splitd_flags INTERFACE _FILE_OFFSET_BITS=64)
if(SPLITD_NET)
  target_compile_definitions(splitd_flags INTERFACE SPLITD_NET=1)
endif()
if(SPLITD_SANITIZE)
  add_compile_options(-fsanitize=${SPLITD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${SPLITD_SANITIZE})
endif()
if(SPLITD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# splitd_library(splitd_base SOURCES a.cpp … LINK other …)
function(splitd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC splitd_flags ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
endfunction()

# splitd_test(base_test SOURCES a_test.cpp … LINK splitd_base): one ctest entry per GoogleTest suite
# binary. Tests find their files through TEST_DATA (tests/) and TEST_BUILD (the build directory).
function(splitd_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE splitd_flags ${ARG_LINK} GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    SPLITD_TEST_DATA="${PROJECT_SOURCE_DIR}/tests" SPLITD_TEST_BUILD="${PROJECT_BINARY_DIR}/test_data")
  add_dependencies(${name} test_data)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
endfunction()

add_custom_target(fuzz_targets)

# splitd_fuzz(safetensors LINK splitd_formats): tests/fuzz/safetensors_fuzz.cpp. With SPLITD_FUZZ a
# libFuzzer binary fuzz_<name>; otherwise a test that replays tests/fuzz/corpus/<name>/.
function(splitd_fuzz name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  set(source ${PROJECT_SOURCE_DIR}/tests/fuzz/${name}_fuzz.cpp)
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(SPLITD_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
    add_test(NAME fuzz_corpus_${name} COMMAND fuzz_${name} ${corpus})
  endif()
  target_link_libraries(fuzz_${name} PRIVATE splitd_flags ${ARG_LINK})
  add_dependencies(fuzz_targets fuzz_${name})
endfunction()

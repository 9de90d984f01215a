# How each dependency is found, and which versions are accepted. Nothing is vendored.
# A missing optional one switches its feature off with a line; `make deps` installs all of them.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# PCRE2 10.x, 8-bit: the split patterns of tokenizers.
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.34)
# utf8proc: Unicode normalisation and categories. Debian's .pc understates its version.
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc>=2.4)

# toml++ 3.x, header-only use: its CMake target would link a shared library.
find_path(TOMLPP_INCLUDE_DIR toml++/toml.h REQUIRED)
add_library(splitd_tomlpp INTERFACE)
target_include_directories(splitd_tomlpp SYSTEM INTERFACE ${TOMLPP_INCLUDE_DIR})

# mbedTLS 2.28 or 3.6: no CMake config and no .pc in Debian 12.
if(SPLITD_NET)
  find_path(MBEDTLS_INCLUDE_DIR mbedtls/ssl.h)
  find_library(MBEDTLS_LIBRARY mbedtls)
  find_library(MBEDX509_LIBRARY mbedx509)
  find_library(MBEDCRYPTO_LIBRARY mbedcrypto)
  if(MBEDTLS_INCLUDE_DIR AND MBEDTLS_LIBRARY AND MBEDX509_LIBRARY AND MBEDCRYPTO_LIBRARY)
    add_library(splitd_mbedtls INTERFACE)
    target_include_directories(splitd_mbedtls SYSTEM INTERFACE ${MBEDTLS_INCLUDE_DIR})
    target_link_libraries(splitd_mbedtls INTERFACE
      ${MBEDTLS_LIBRARY} ${MBEDX509_LIBRARY} ${MBEDCRYPTO_LIBRARY})
  else()
    message(STATUS "mbedTLS not found (libmbedtls-dev): building without network commands")
    set(SPLITD_NET OFF)
  endif()
endif()

if(SPLITD_TESTS)
  find_package(GTest 1.12)
  find_program(SPLITD_XZ xz)
  if(NOT GTest_FOUND OR NOT SPLITD_XZ)
    message(STATUS "GoogleTest or xz not found (libgtest-dev, xz-utils): building without tests")
    set(SPLITD_TESTS OFF)
  endif()
endif()

# CUDA 13. CMake 3.25 does not know nvcc's C++20 flag, so it is told.
if(SPLITD_CUDA)
  # What the nvcc here knows no code for is left out, before CMake takes it for a broken compiler.
  find_program(SPLITD_NVCC NAMES ${CMAKE_CUDA_COMPILER} $ENV{CUDACXX} nvcc PATHS /usr/local/cuda/bin)
  if(CMAKE_CUDA_ARCHITECTURES AND SPLITD_NVCC)
    execute_process(COMMAND ${SPLITD_NVCC} --list-gpu-code
      OUTPUT_VARIABLE known ERROR_QUIET RESULT_VARIABLE failed)
    string(REGEX MATCHALL "sm_[0-9]+[a-z]?" known "${known}")
    if(NOT failed AND known)
      set(kept)
      foreach(architecture ${CMAKE_CUDA_ARCHITECTURES})
        string(REGEX MATCH "^[0-9]+[a-z]?" number ${architecture})
        if(number AND NOT "sm_${number}" IN_LIST known)
          message(WARNING "${SPLITD_NVCC} has no code for sm_${number}: left out; it knows ${known}")
        else()
          list(APPEND kept ${architecture})
        endif()
      endforeach()
      # Newer GPUs translate the newest PTX that there is.
      if(NOT kept STREQUAL CMAKE_CUDA_ARCHITECTURES AND kept)
        list(POP_BACK kept newest)
        string(REPLACE "-real" "" newest ${newest})
        list(APPEND kept ${newest})
      endif()
      set(CMAKE_CUDA_ARCHITECTURES ${kept})
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80)  # the oldest that the kernels run on, and its PTX for others
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
  else()
    message(STATUS "nvcc not found: building without the CUDA backend")
    set(SPLITD_CUDA OFF)
  endif()
endif()

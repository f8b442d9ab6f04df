# The two functions every folder's CMakeLists.txt uses, and the flags all our code is compiled with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

if(HEADCOUNT_SANITIZE)
  # GCC 12 takes its own instrumentation for reads of what was never written; TSan does not see the
  # fences in Asio.
  add_compile_options(-fsanitize=${HEADCOUNT_SANITIZE} -fno-omit-frame-pointer
    -Wno-maybe-uninitialized -Wno-tsan)
  add_link_options(-fsanitize=${HEADCOUNT_SANITIZE})
endif()

if(HEADCOUNT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address)
endif()

find_package(Threads REQUIRED)

# Our own sources only: third-party headers come in as SYSTEM and stay silent.
add_library(headcount_flags INTERFACE)
target_compile_options(headcount_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(headcount_flags INTERFACE -Wno-restrict)  # false alarms on "text" + std::string (GCC bug 105651)
endif()
target_include_directories(headcount_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(HEADCOUNT_HEADER_ONLY_DIR)
  target_include_directories(headcount_flags SYSTEM INTERFACE ${HEADCOUNT_HEADER_ONLY_DIR})
endif()

# headcount_folder(NAME [ALSO glob ...] [EXCEPT regex] [LINK lib ...] [TEST_LINK lib ...] [TEST_TIMEOUT s]): the folder's *.cc
# (and those of the globs) become library NAME, its *_test.cc one GoogleTest program NAME_test that ctest runs. main.cc is the
# caller's business.
function(headcount_folder name)
  cmake_parse_arguments(ARG "" "TEST_TIMEOUT;EXCEPT" "ALSO;LINK;TEST_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc ${ARG_ALSO})
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  if(ARG_EXCEPT)
    list(FILTER sources EXCLUDE REGEX "${ARG_EXCEPT}")
  endif()
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    file(TOUCH ${CMAKE_CURRENT_BINARY_DIR}/empty.cc)
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/empty.cc)
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC headcount_flags Threads::Threads ${ARG_LINK})
  if(tests AND HEADCOUNT_TESTS)
    headcount_test(${name}_test SOURCES ${tests} LINK ${name} ${ARG_TEST_LINK} TIMEOUT ${ARG_TEST_TIMEOUT})
  endif()
endfunction()

# headcount_kinds_outside(GLOBS names registry): the globs of the sources `names` of every kind of HEADCOUNT_KINDS_DIR, for headcount_folder.
# They include each other from that folder, and the source that reads kinds.def, `registry`, reads the folder's own after it. Only these
# sources know of it, so all others stay as they are compiled without.
function(headcount_kinds_outside globs names registry)
  set(found)
  if(HEADCOUNT_KINDS_DIR)
    foreach(name ${names})
      list(APPEND found "${HEADCOUNT_KINDS_DIR}/*${name}")
    endforeach()
    file(GLOB sources CONFIGURE_DEPENDS ${found})
    if(sources)
      set_source_files_properties(${sources} PROPERTIES INCLUDE_DIRECTORIES "${HEADCOUNT_KINDS_DIR}")
    endif()
    set_source_files_properties(${registry} PROPERTIES COMPILE_DEFINITIONS "HEADCOUNT_KINDS_DEF=\"${HEADCOUNT_KINDS_DIR}/kinds.def\"")
  endif()
  set(${globs} ${found} PARENT_SCOPE)
endfunction()

# headcount_test(NAME SOURCES a_test.cc ... [LINK lib ...] [LABELS l ...] [TIMEOUT s]): one GoogleTest program, one ctest entry.
function(headcount_test name)
  find_package(GTest REQUIRED)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} headcount_flags GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE
    HEADCOUNT_SOURCE_DIR="${CMAKE_SOURCE_DIR}" HEADCOUNT_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

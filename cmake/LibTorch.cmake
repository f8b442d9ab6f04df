# LibTorch for the few folders that compute: Debian's CPU 1.13 or a pip/CUDA 2.x found through CMAKE_PREFIX_PATH.
# Slim headers only (AT_PER_OPERATOR_HEADERS): 3 s a file instead of 12.
find_package(Torch REQUIRED)
find_package(OpenMP)
add_library(headcount_torch INTERFACE)
target_link_libraries(headcount_torch INTERFACE ${TORCH_LIBRARIES})
if(OpenMP_CXX_FOUND)
  target_link_libraries(headcount_torch INTERFACE OpenMP::OpenMP_CXX)
endif()
target_include_directories(headcount_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_compile_definitions(headcount_torch INTERFACE AT_PER_OPERATOR_HEADERS)
separate_arguments(headcount_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(headcount_torch INTERFACE ${headcount_torch_flags})

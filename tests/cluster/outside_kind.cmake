# Configures and builds the two programs in BINARY with the kinds of examples/kinds, which are outside of SOURCE's experiments/kinds.
foreach(step
    "-S;${SOURCE};-B;${BINARY};-G;Ninja;-DCMAKE_BUILD_TYPE=Release;-DHEADCOUNT_TESTS=OFF;-DHEADCOUNT_KINDS_DIR=${SOURCE}/examples/kinds;-DCMAKE_PREFIX_PATH=${PREFIX_PATH};-DHEADCOUNT_HEADER_ONLY_DIR=${HEADER_ONLY_DIR}"
    "--build;${BINARY};--target;headcount;headcount-runner;-j2")
  execute_process(COMMAND ${CMAKE_COMMAND} ${step} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "cmake ${step} ended with ${failed}")
  endif()
endforeach()

# The emulator as a library, in the place of the CUDA runtime. By clang++-14 where it is installed:
# its loops over 32 lanes are twice as fast as g++'s. One compiler for one folder is more than CMake
# offers, so each file is a command. Included by the top folder, because programs link it too.
find_program(SLUICE_EMULATOR_COMPILER NAMES clang++-14 clang++ DOC "Compiles the PTX emulator")
if(NOT SLUICE_EMULATOR_COMPILER)
  set(SLUICE_EMULATOR_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "Compiles the PTX emulator" FORCE)
endif()
set(emulator_command ${CMAKE_CXX_COMPILER_LAUNCHER} ${SLUICE_EMULATOR_COMPILER} -std=c++20 -O3 -g1 -march=x86-64-v3
  -Wall -Wextra -Wshadow -I${CMAKE_SOURCE_DIR}/tests -I${CMAKE_SOURCE_DIR}/src -isystem ${SLUICE_CUDA_ROOT}/include)
if(SLUICE_WARNINGS_AS_ERRORS)
  list(APPEND emulator_command -Werror)
endif()
file(GLOB emulator_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/emulator/*.cc)
list(FILTER emulator_sources EXCLUDE REGEX "_test\\.cc$")
if(NOT SLUICE_NCCL_ENABLED)
  list(FILTER emulator_sources EXCLUDE REGEX "/nccl_[a-z_]*\\.cc$")
endif()
if(NOT SLUICE_CUDNN_ENABLED)
  list(FILTER emulator_sources EXCLUDE REGEX "/cudnn_[a-z_]*\\.cc$")
endif()
set(emulator_objects)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/emulator)
foreach(source ${emulator_sources})
  get_filename_component(name ${source} NAME)
  set(object ${CMAKE_BINARY_DIR}/emulator/${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${emulator_command} -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Building emulator object ${name}.o" VERBATIM COMMAND_EXPAND_LISTS)
  list(APPEND emulator_objects ${object})
endforeach()
set_source_files_properties(${emulator_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(sluice_emulator STATIC ${emulator_objects})
set_target_properties(sluice_emulator PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(sluice_emulator PUBLIC Threads::Threads)

# The CUDA toolkit: whether there is one, how .cu files are compiled, and what runs them.
# docs/decisions/0011-cuda-without-cmakes-language.md says why this is not enable_language(CUDA).
#
#   SLUICE_CUDA                 AUTO (on when a toolkit is found), ON or OFF
#   SLUICE_CUDA_RUNTIME         emulator (tests/emulator: no GPU needed) or cudart
#   SLUICE_CUDA_ARCHITECTURES   of cudart builds: machine code for each, and PTX of the last
#   SLUICE_CUDA_TOOLKIT         where to look first: the folder that has bin/nvcc
#
# Sets SLUICE_CUDA_ENABLED; when it is on, also the target sluice_cuda_runtime (headers, and what to
# link) and sluice_cuda_objects(VARIABLE a.cu…); and SLUICE_NCCL_ENABLED, with the target sluice_nccl:
# without NCCL, CUDA is for one rank.
set(SLUICE_CUDA "AUTO" CACHE STRING "AUTO, ON or OFF: build the CUDA backend")
set_property(CACHE SLUICE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(SLUICE_CUDA_RUNTIME "cudart" CACHE STRING "emulator or cudart: what runs the kernels")
set_property(CACHE SLUICE_CUDA_RUNTIME PROPERTY STRINGS emulator cudart)
set(SLUICE_CUDA_ARCHITECTURES "80;86;89;90;100;120" CACHE STRING "sm_ numbers of cudart builds")
set(SLUICE_CUDA_TOOLKIT "" CACHE PATH "Folder with bin/nvcc; empty: PATH, /usr/local/cuda, .cuda")

# The newest thing that nvcc's host code calls is of CUDA 13.
set(SLUICE_OLDEST_CUDA 13.0)

# Sets SLUICE_NVCC and SLUICE_CUDA_VERSION, or SLUICE_CUDA_MISSING to why there is none.
function(sluice_find_nvcc)
  find_program(nvcc nvcc NO_CACHE NO_DEFAULT_PATH PATHS ${SLUICE_CUDA_TOOLKIT}/bin)
  if(NOT nvcc AND SLUICE_CUDA_TOOLKIT STREQUAL "")
    find_program(nvcc nvcc NO_CACHE PATHS /usr/local/cuda/bin ${CMAKE_SOURCE_DIR}/.cuda/toolkit/bin)
  endif()
  if(NOT nvcc)
    set(SLUICE_CUDA_MISSING "there is no nvcc on PATH, in /usr/local/cuda or in .cuda (launch/install_dependencies.sh --cuda gets one)" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE code)
  if(NOT code EQUAL 0 OR NOT said MATCHES "release ([0-9]+\\.[0-9]+)")
    set(SLUICE_CUDA_MISSING "${nvcc} --version does not say a version" PARENT_SCOPE)
  elseif(CMAKE_MATCH_1 VERSION_LESS SLUICE_OLDEST_CUDA)
    set(SLUICE_CUDA_MISSING "${nvcc} is of CUDA ${CMAKE_MATCH_1}, and ${SLUICE_OLDEST_CUDA} or newer is needed" PARENT_SCOPE)
  else()
    set(SLUICE_CUDA_VERSION ${CMAKE_MATCH_1} PARENT_SCOPE)
    set(SLUICE_NVCC ${nvcc} PARENT_SCOPE)
  endif()
endfunction()

# Compiles a small file, and sets SLUICE_CUDA_ROOT, the toolkit's own folder; or SLUICE_CUDA_MISSING.
function(sluice_probe_nvcc)
  set(probe ${CMAKE_BINARY_DIR}/cuda_probe)
  file(WRITE ${probe}.cu "#include <cuda_bf16.h>\n#include <string>\n__global__ void Probe(float* x) { *x = 1; }\nvoid Run(float* x) { Probe<<<1, 1>>>(x); }\n")
  execute_process(COMMAND ${SLUICE_NVCC} -ccbin ${CMAKE_CXX_COMPILER} -std=c++20 -arch=compute_80 -cudart=none -c ${probe}.cu -o ${probe}.o
    OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    string(STRIP "${said}" said)
    set(SLUICE_CUDA_MISSING "${SLUICE_NVCC} cannot compile: ${said}" PARENT_SCOPE)
    return()
  endif()
  # nvcc may be a link or a script: it knows its own folder.
  execute_process(COMMAND ${SLUICE_NVCC} --dryrun ${probe}.cu ERROR_VARIABLE said)
  if(said MATCHES "#\\$ TOP=([^\n]*)")
    get_filename_component(root ${CMAKE_MATCH_1} REALPATH)
    set(SLUICE_CUDA_ROOT ${root} PARENT_SCOPE)
  else()
    set(SLUICE_CUDA_MISSING "${SLUICE_NVCC} --dryrun does not say where its toolkit is" PARENT_SCOPE)
  endif()
endfunction()

# Sets SLUICE_NCCL_ENABLED, and makes sluice_nccl; the emulator has a stand-in and needs the header only.
function(sluice_find_nccl)
  set(SLUICE_NCCL_ENABLED OFF PARENT_SCOPE)
  find_path(header nccl.h NO_CACHE HINTS ${SLUICE_CUDA_ROOT}/include)
  if(SLUICE_CUDA_RUNTIME STREQUAL "emulator")
    set(library sluice_emulator)
  else()
    find_library(library nccl NO_CACHE HINTS ${SLUICE_CUDA_ROOT} PATH_SUFFIXES lib64 lib)
  endif()
  if(NOT header OR NOT library)
    message(STATUS "Without NCCL, so CUDA is for one rank: no nccl.h or libnccl in ${SLUICE_CUDA_ROOT} or the system's folders")
    return()
  endif()
  add_library(sluice_nccl INTERFACE)
  target_include_directories(sluice_nccl SYSTEM INTERFACE ${header})
  target_link_libraries(sluice_nccl INTERFACE ${library} sluice_cuda_runtime)
  set(SLUICE_NCCL_ENABLED ON PARENT_SCOPE)
endfunction()

# Sets SLUICE_CUDNN_ENABLED, and makes sluice_cudnn; the emulator has a stand-in and needs the headers only. Any header of cuDNN 9.17 or newer does
# (kernels/cuda/cudnn_descriptor.h); what the library is too old for shows when a program runs.
function(sluice_find_cudnn)
  set(SLUICE_CUDNN_ENABLED OFF PARENT_SCOPE)
  find_path(header cudnn_graph.h NO_CACHE HINTS ${SLUICE_CUDA_ROOT}/include)
  if(SLUICE_CUDA_RUNTIME STREQUAL "emulator")
    set(library sluice_emulator)
  else()
    find_library(library cudnn NO_CACHE HINTS ${SLUICE_CUDA_ROOT} PATH_SUFFIXES lib64 lib)
  endif()
  if(NOT header OR NOT library)
    message(STATUS "Without cuDNN: no cudnn_graph.h or libcudnn in ${SLUICE_CUDA_ROOT} or the system's folders")
    return()
  endif()
  file(STRINGS ${header}/cudnn_graph.h backward REGEX "CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR")
  if(NOT backward)
    message(STATUS "Without cuDNN: ${header}/cudnn_graph.h is older than 9.17")
    return()
  endif()
  add_library(sluice_cudnn INTERFACE)
  target_include_directories(sluice_cudnn SYSTEM INTERFACE ${header})
  target_link_libraries(sluice_cudnn INTERFACE ${library} sluice_cuda_runtime)
  set(SLUICE_CUDNN_ENABLED ON PARENT_SCOPE)
endfunction()

set(SLUICE_CUDA_ENABLED OFF)
set(SLUICE_NCCL_ENABLED OFF)
set(SLUICE_CUDNN_ENABLED OFF)
if(SLUICE_CUDA STREQUAL "OFF")
  return()
endif()
set(SLUICE_CUDA_MISSING "")
sluice_find_nvcc()
if(SLUICE_NVCC)
  sluice_probe_nvcc()
endif()
if(SLUICE_CUDA_ROOT AND SLUICE_CUDA_RUNTIME STREQUAL "cudart")
  find_library(SLUICE_CUDART cudart_static NO_CACHE NO_DEFAULT_PATH PATHS ${SLUICE_CUDA_ROOT} PATH_SUFFIXES lib64 lib)
  find_library(SLUICE_CUBLASLT cublasLt NO_CACHE NO_DEFAULT_PATH PATHS ${SLUICE_CUDA_ROOT} PATH_SUFFIXES lib64 lib)
  if(NOT SLUICE_CUDART)
    set(SLUICE_CUDA_MISSING "there is no libcudart_static.a in ${SLUICE_CUDA_ROOT}")
  elseif(NOT SLUICE_CUBLASLT)
    set(SLUICE_CUDA_MISSING "there is no libcublasLt in ${SLUICE_CUDA_ROOT}")
  endif()
endif()
if(NOT SLUICE_CUDA_MISSING STREQUAL "")
  if(SLUICE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SLUICE_CUDA=ON: ${SLUICE_CUDA_MISSING}")
  endif()
  message(STATUS "Without CUDA: ${SLUICE_CUDA_MISSING}")
  return()
endif()
set(SLUICE_CUDA_ENABLED ON)
message(STATUS "CUDA ${SLUICE_CUDA_VERSION} from ${SLUICE_CUDA_ROOT}, run by ${SLUICE_CUDA_RUNTIME}")

add_library(sluice_cuda_runtime INTERFACE)
target_include_directories(sluice_cuda_runtime SYSTEM INTERFACE ${SLUICE_CUDA_ROOT}/include)
if(SLUICE_CUDA_RUNTIME STREQUAL "emulator")
  # The emulator reads PTX, as text.
  set(code -gencode arch=compute_80,code=compute_80 --no-compress)
  target_link_libraries(sluice_cuda_runtime INTERFACE sluice_emulator)
else()
  set(code)
  foreach(architecture ${SLUICE_CUDA_ARCHITECTURES})
    list(APPEND code -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  list(GET SLUICE_CUDA_ARCHITECTURES -1 newest)
  list(APPEND code -gencode arch=compute_${newest},code=compute_${newest})
  target_link_libraries(sluice_cuda_runtime INTERFACE ${SLUICE_CUBLASLT} ${SLUICE_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
endif()

sluice_find_nccl()
sluice_find_cudnn()

set(SLUICE_NVCC_COMMAND ${CMAKE_CUDA_COMPILER_LAUNCHER})
if(NOT CMAKE_CUDA_COMPILER_LAUNCHER AND SLUICE_CCACHE)
  set(SLUICE_NVCC_COMMAND ${SLUICE_CCACHE})
endif()
# Constexpr functions of core (Philox) run on the device too.
list(APPEND SLUICE_NVCC_COMMAND ${SLUICE_NVCC} -ccbin ${CMAKE_CXX_COMPILER} ${code} -cudart=none -lineinfo
  -std=c++20 -O3 --expt-relaxed-constexpr -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/tests
  -Xcompiler=-Wall,-fno-math-errno,-ffp-contract=off)
if(SLUICE_WARNINGS_AS_ERRORS)
  list(APPEND SLUICE_NVCC_COMMAND -Werror=all-warnings -Xcompiler=-Werror)
endif()

# sluice_cuda_objects(VARIABLE a.cu…): compiles them, and sets VARIABLE to their objects.
function(sluice_cuda_objects variable)
  set(objects)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${SLUICE_NVCC_COMMAND} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d
      COMMENT "Building CUDA object ${name}.o" VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND objects ${object})
  endforeach()
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()

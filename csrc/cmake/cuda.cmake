# The CUDA core, where nvcc is: on a machine without one, or with one that is too old, the package is built without.
#
#   FASTDEBLUR_CUDA                AUTO (where it can be built), ON (or fail), OFF
#   FASTDEBLUR_CUDA_ARCHITECTURES  e.g. "90", or "80;90;100;120": machine code for each, and PTX of the lowest, which
#                                  devices between and after them compile for themselves
#   fastdeblur_has_cuda            whether it is built
#   fastdeblur_add_cuda()          -> target fastdeblur_cuda_kernels
#
# Both can be environment variables too. nvcc is looked for as CMake does (CUDACXX, CUDA_PATH, PATH), and then among
# the installed packages of NVIDIA's (nvidia-cuda-nvcc, -crt, -nvvm, -cccl, -runtime share one folder).

function(fastdeblur_option_with_environment name default text)
  set(value "${default}")
  if(NOT "$ENV{${name}}" STREQUAL "")
    set(value "$ENV{${name}}")
  endif()
  set(${name} "${value}" CACHE STRING "${text}")
endfunction()
fastdeblur_option_with_environment(FASTDEBLUR_CUDA AUTO "Build the CUDA core: AUTO, ON or OFF")
fastdeblur_option_with_environment(FASTDEBLUR_CUDA_ARCHITECTURES "80;90;100;120"
  "Compute capabilities (times ten) that the CUDA core is compiled for")

# Sets `out` to the reason why there is no CUDA core; empty where there can be one. Enables the language on its way.
macro(fastdeblur_find_cuda out)
  set(${out} "")
  string(TOUPPER "${FASTDEBLUR_CUDA}" cuda_wanted)
  if(NOT cuda_wanted MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|YES|NO|1|0)$")
    message(FATAL_ERROR "FASTDEBLUR_CUDA: expected AUTO, ON or OFF, got \"${FASTDEBLUR_CUDA}\"")
  endif()
  string(REGEX REPLACE "[, ]+" ";" cuda_architectures "${FASTDEBLUR_CUDA_ARCHITECTURES}")
  foreach(architecture IN LISTS cuda_architectures)
    if(NOT architecture MATCHES "^[0-9]+$" OR architecture LESS 80)
      message(FATAL_ERROR "FASTDEBLUR_CUDA_ARCHITECTURES: expected numbers from 80 on such as 90, got \"${architecture}\"")
    endif()
  endforeach()
  list(SORT cuda_architectures COMPARE NATURAL)
  if(cuda_wanted MATCHES "^(OFF|FALSE|NO|0)$")
    set(${out} "FASTDEBLUR_CUDA is ${FASTDEBLUR_CUDA}")
  elseif(NOT FASTDEBLUR_PYTHON)
    set(${out} "without Python modules there is none")
  elseif(APPLE)
    set(${out} "macOS has no CUDA")
  else()
    # Forgets what an earlier run found not to work: it may have been mended.
    if(NOT CMAKE_CUDA_COMPILER)
      unset(CMAKE_CUDA_COMPILER CACHE)
      unset(FASTDEBLUR_NVCC CACHE)
    endif()
    # Through the environment, and not as CMake's variables: check_language() does nothing once CMAKE_CUDA_COMPILER is set, and
    # the project that it tries the compiler in sees nothing but the environment.
    if(NOT CMAKE_CUDA_COMPILER AND "$ENV{CUDACXX}" STREQUAL "")
      find_program(FASTDEBLUR_NVCC nvcc HINTS ENV CUDA_PATH PATH_SUFFIXES bin)
      if(NOT FASTDEBLUR_NVCC)
        execute_process(
          COMMAND "${Python_EXECUTABLE}" -c
                  "import nvidia.cu13, os; print(os.path.join(list(nvidia.cu13.__path__)[0], 'bin'))"
          OUTPUT_VARIABLE cuda_packages ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
        find_program(FASTDEBLUR_NVCC nvcc PATHS "${cuda_packages}" NO_DEFAULT_PATH)
      endif()
      if(FASTDEBLUR_NVCC)
        set(ENV{CUDACXX} "${FASTDEBLUR_NVCC}")
      endif()
    endif()
    # NVIDIA's packages for Linux keep in lib/ what their nvcc looks for in lib64/. CMake notes where the linker is sent.
    if(NOT "$ENV{CUDACXX}" STREQUAL "")
      get_filename_component(cuda_root "$ENV{CUDACXX}" DIRECTORY)
      get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
      if(EXISTS "${cuda_root}/lib/libcudart_static.a" AND NOT EXISTS "${cuda_root}/lib64")
        set(ENV{NVCC_APPEND_FLAGS} "$ENV{NVCC_APPEND_FLAGS} -L\"${cuda_root}/lib\"")
      endif()
    endif()
    # Ours to decide below; CMake wants something to try the compiler with.
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      list(GET cuda_architectures 0 CMAKE_CUDA_ARCHITECTURES)
    endif()
    set(ENV{CUDAARCHS} "${CMAKE_CUDA_ARCHITECTURES}")
    if(NOT CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX} AND NOT MSVC)
      set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
    endif()
    if(CMAKE_CUDA_HOST_COMPILER)
      set(ENV{CUDAHOSTCXX} "${CMAKE_CUDA_HOST_COMPILER}")
    endif()
    if(NOT CMAKE_CUDA_COMPILER AND "$ENV{CUDACXX}" STREQUAL "")
      set(${out} "nvcc was not found")
    else()
      include(CheckLanguage)
      check_language(CUDA)
      if(NOT CMAKE_CUDA_COMPILER)
        set(${out} "nvcc does not work with this compiler ($ENV{CUDACXX})")
      else()
        enable_language(CUDA)
        if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
          set(${out} "nvcc ${CMAKE_CUDA_COMPILER_VERSION} was found, and 12.8 is needed")
        endif()
      endif()
    endif()
  endif()
  if(${out} AND cuda_wanted MATCHES "^(ON|TRUE|YES|1)$")
    message(FATAL_ERROR "FASTDEBLUR_CUDA is ON, but ${${out}}")
  endif()
endmacro()

function(fastdeblur_add_cuda)
  # Machine code for all, PTX of the lowest: no kernel needs more, and it serves 11.0 as well as what comes after the last.
  set(code ${cuda_architectures})
  list(POP_FRONT code lowest)
  list(TRANSFORM code APPEND -real)
  list(PREPEND code ${lowest})
  list(JOIN cuda_architectures "," shown)

  file(GLOB kernels CONFIGURE_DEPENDS csrc/cuda/*.cu csrc/cuda/nn/*.cu)
  file(GLOB host CONFIGURE_DEPENDS csrc/cuda/*.cpp csrc/nn/operation.cpp)
  add_library(fastdeblur_cuda_kernels STATIC ${kernels})
  set_target_properties(
    fastdeblur_cuda_kernels
    PROPERTIES CUDA_ARCHITECTURES "${code}" CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_include_directories(fastdeblur_cuda_kernels PRIVATE csrc)
  if(MSVC)
    set(warnings -Xcompiler=/W3,/utf-8,/bigobj,/Zc:preprocessor)
    set(errors -Werror=all-warnings -Xcompiler=/WX)
  else()
    set(warnings -Xcompiler=-Wall,-Wextra)
    set(errors -Werror=all-warnings -Xcompiler=-Werror)
  endif()
  # Files of kernels compile for their architectures side by side. -O1 is the host's part of them, which launches. The standard
  # is named here since CMake 3.25, which Debian 12 has, does not know that nvcc has C++20.
  target_compile_options(
    fastdeblur_cuda_kernels
    PRIVATE -std=c++20 --threads=0 $<$<AND:$<CONFIG:Release>,$<NOT:$<BOOL:${MSVC}>>>:-O1> ${warnings}
            $<$<BOOL:${FASTDEBLUR_WERROR}>:${errors}>)

  add_library(fastdeblur_cuda STATIC ${host})
  set_target_properties(
    fastdeblur_cuda
    PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_compile_definitions(
    fastdeblur_cuda PRIVATE FASTDEBLUR_CUDA_LOWEST=${lowest}
    INTERFACE FASTDEBLUR_CUDA_ARCHITECTURES="${shown}")
  target_include_directories(fastdeblur_cuda SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_link_libraries(fastdeblur_cuda PUBLIC fastdeblur_options ${CMAKE_DL_LIBS})
  target_link_libraries(fastdeblur_cuda_kernels INTERFACE fastdeblur_cuda)
  message(STATUS "fastdeblur: CUDA core for compute capabilities ${shown}, nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
endfunction()

fastdeblur_find_cuda(cuda_missing)
set(fastdeblur_has_cuda ON)
if(cuda_missing)
  set(fastdeblur_has_cuda OFF)
  message(STATUS "fastdeblur: no CUDA core: ${cuda_missing}")
endif()

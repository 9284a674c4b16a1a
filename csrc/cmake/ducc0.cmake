# ducc0's FFT headers (BSD-3-Clause), at one known version. Nothing of it is kept in this repository: its source
# package is taken from FASTDEBLUR_DUCC0_DIR where that is set, and otherwise fetched from the package index with pip,
# checked and unpacked into the build tree.
#
#   fastdeblur_ducc0          interface target: the headers (as system headers) and the definitions they need
#   fastdeblur_ducc0_sources  what has to be compiled besides, once for each level

set(DUCC0_VERSION 0.42.0)
set(DUCC0_SHA256 4e11c59b53a43355b053aebb2a62ee16eebeed026575f7d216cf09d437ce52ef)

# Sets `out` to a folder that holds the unpacked source package.
function(fastdeblur_fetch_ducc0 out)
  set(folder "${CMAKE_BINARY_DIR}/ducc0")
  set(archive "${folder}/ducc0-${DUCC0_VERSION}.tar.gz")
  set(unpacked "${folder}/ducc0-${DUCC0_VERSION}")
  set(${out} "${unpacked}" PARENT_SCOPE)
  set(stamp "${folder}/${DUCC0_SHA256}.unpacked")
  if(EXISTS "${stamp}")
    return()
  endif()
  file(REMOVE_RECURSE "${folder}")
  file(MAKE_DIRECTORY "${folder}")

  # pip insists on preparing the package's metadata. Its build backend is the same as ours and thus already here when
  # pip builds us, so that the first try is quick; the second installs the backend into an environment of its own.
  message(STATUS "fastdeblur: fetching ducc0 ${DUCC0_VERSION} with pip")
  set(log "")
  foreach(isolation IN ITEMS --no-build-isolation "")
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -m pip download --quiet --no-input --disable-pip-version-check --no-deps
              ${isolation} --no-binary ducc0 --dest "${folder}" ducc0==${DUCC0_VERSION}
      RESULT_VARIABLE failed
      OUTPUT_VARIABLE output
      ERROR_VARIABLE output)
    string(APPEND log "${output}\n")
    if(failed EQUAL 0 AND EXISTS "${archive}")
      break()
    endif()
  endforeach()
  if(NOT EXISTS "${archive}")
    message(FATAL_ERROR
      "Could not fetch ducc0 ${DUCC0_VERSION}, whose FFT headers are needed to compile fastdeblur:\n${log}\n"
      "Without a network: unpack the source package ducc0-${DUCC0_VERSION}.tar.gz somewhere and set the environment "
      "variable (or the CMake variable) FASTDEBLUR_DUCC0_DIR to the folder that holds its src/. "
      "FASTDEBLUR_NATIVE=0 installs fastdeblur without any compiled code.")
  endif()

  file(SHA256 "${archive}" hash)
  if(NOT hash STREQUAL DUCC0_SHA256)
    file(REMOVE "${archive}")
    message(FATAL_ERROR "ducc0-${DUCC0_VERSION}.tar.gz: expected SHA-256 ${DUCC0_SHA256}, got ${hash}")
  endif()
  file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${folder}")
  file(TOUCH "${stamp}")
endfunction()

if(FASTDEBLUR_DUCC0_DIR)
  set(ducc0_dir "${FASTDEBLUR_DUCC0_DIR}")
else()
  fastdeblur_fetch_ducc0(ducc0_dir)
endif()
if(NOT EXISTS "${ducc0_dir}/src/ducc0/fft/fft1d_impl.h")
  message(FATAL_ERROR
    "FASTDEBLUR_DUCC0_DIR: expected the folder of the unpacked ducc0 ${DUCC0_VERSION} source package, with "
    "src/ducc0/fft/fft1d_impl.h in it, got \"${ducc0_dir}\"")
endif()
if(EXISTS "${ducc0_dir}/PKG-INFO")
  file(STRINGS "${ducc0_dir}/PKG-INFO" ducc0_found REGEX "^Version: ")
  if(NOT ducc0_found STREQUAL "Version: ${DUCC0_VERSION}")
    message(FATAL_ERROR
      "FASTDEBLUR_DUCC0_DIR: expected ducc0 ${DUCC0_VERSION}, got \"${ducc0_found}\" in ${ducc0_dir}")
  endif()
endif()
message(STATUS "fastdeblur: ducc0 headers in ${ducc0_dir}/src")

# The FFT headers name the library's scheduler, whose definition is in threading.cc. Threads are ours: it is told to
# start none, which also keeps its thread pool out of processes that fork.
set(fastdeblur_ducc0_sources "${ducc0_dir}/src/ducc0/infra/threading.cc")
set_source_files_properties(${fastdeblur_ducc0_sources} PROPERTIES COMPILE_OPTIONS "$<IF:$<BOOL:${MSVC}>,/w,-w>")
add_library(fastdeblur_ducc0 INTERFACE)
target_include_directories(fastdeblur_ducc0 SYSTEM INTERFACE "${ducc0_dir}/src")
target_compile_definitions(fastdeblur_ducc0 INTERFACE DUCC0_NO_LOWLEVEL_THREADING)

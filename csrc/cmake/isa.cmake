# Which instruction-set levels are built, and the targets that are compiled for one of them.
#
#   fastdeblur_levels               the levels, lowest first: a subset of v2 v3 v4 on x86-64, "generic" elsewhere
#   fastdeblur_add_level(v3 SRC..)  makes the static library fastdeblur_cpu_v3, whose users are compiled for v3 too
#
# The levels are those of the x86-64 psABI, section 3.1.1: v2 up to SSE4.2, v3 up to AVX2 and FMA, v4 with AVX-512
# F, BW, CD, DQ and VL. "generic" is what the compiler does unasked; it is the only level off x86-64.
include(CheckCXXCompilerFlag)

if(MSVC)
  set(fastdeblur_flags_v2 /arch:SSE4.2)
  set(fastdeblur_flags_v3 /arch:AVX2)
  set(fastdeblur_flags_v4 /arch:AVX512)
else()
  set(fastdeblur_flags_v2 -march=x86-64-v2)
  set(fastdeblur_flags_v3 -march=x86-64-v3)
  # Compilers prefer 256-bit vectors even here, from the time when the first such processors lowered their clock.
  set(fastdeblur_flags_v4 -march=x86-64-v4 -mprefer-vector-width=512)
endif()
set(fastdeblur_flags_generic "")

# On macOS the target is CMAKE_OSX_ARCHITECTURES when it is set; CMAKE_SYSTEM_PROCESSOR is then only the host.
set(architecture "${CMAKE_SYSTEM_PROCESSOR}")
if(APPLE AND CMAKE_OSX_ARCHITECTURES)
  set(architecture "${CMAKE_OSX_ARCHITECTURES}")
endif()
string(TOLOWER "${architecture}" architecture)
set(x86_64 OFF)
if(architecture MATCHES "^(x86_64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  set(x86_64 ON)
endif()

if(FASTDEBLUR_ISA_LEVELS)
  string(REPLACE "," ";" fastdeblur_levels "${FASTDEBLUR_ISA_LEVELS}")
  string(REPLACE " " ";" fastdeblur_levels "${fastdeblur_levels}")
elseif(x86_64)
  set(fastdeblur_levels v2 v3 v4)
else()
  set(fastdeblur_levels generic)
endif()
list(REMOVE_DUPLICATES fastdeblur_levels)
list(SORT fastdeblur_levels COMPARE NATURAL)

foreach(level IN LISTS fastdeblur_levels)
  if(NOT level MATCHES "^(v2|v3|v4|generic)$")
    message(FATAL_ERROR "FASTDEBLUR_ISA_LEVELS: expected levels out of v2, v3, v4, generic, got \"${level}\"")
  endif()
  if(level MATCHES "^v" AND NOT x86_64)
    message(FATAL_ERROR "FASTDEBLUR_ISA_LEVELS: ${level} is a level of x86-64, the target is ${architecture}")
  endif()
  if(level MATCHES "^v")
    string(REPLACE ";" " " flags "${fastdeblur_flags_${level}}")
    check_cxx_compiler_flag("${flags}" FASTDEBLUR_COMPILER_HAS_${level})
    if(NOT FASTDEBLUR_COMPILER_HAS_${level})
      if(FASTDEBLUR_ISA_LEVELS)
        message(FATAL_ERROR "FASTDEBLUR_ISA_LEVELS: the compiler does not know ${flags}, needed for ${level}")
      endif()
      list(REMOVE_ITEM fastdeblur_levels ${level})
    endif()
  endif()
endforeach()
if(NOT fastdeblur_levels)
  set(fastdeblur_levels generic)
elseif(x86_64 AND NOT FASTDEBLUR_ISA_LEVELS AND NOT "v2" IN_LIST fastdeblur_levels)
  # No flag for v2 (older MSVC): the compiler's baseline takes its place, so that every processor is served.
  list(APPEND fastdeblur_levels generic)
endif()
message(STATUS "fastdeblur: instruction-set levels: ${fastdeblur_levels}")

function(fastdeblur_add_level level)
  set(target fastdeblur_cpu_${level})
  if(level STREQUAL "generic")
    set(isa_name "generic")
  else()
    set(isa_name "x86-64-${level}")
  endif()
  add_library(${target} STATIC ${ARGN} ${fastdeblur_ducc0_sources})
  set_target_properties(
    ${target} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PUBLIC ${fastdeblur_flags_${level}})
  target_compile_definitions(${target} PUBLIC FASTDEBLUR_ISA_NAME="${isa_name}")
  target_link_libraries(${target} PUBLIC fastdeblur_options fastdeblur_ducc0)
endfunction()

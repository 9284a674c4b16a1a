#!/usr/bin/env bash
# Everything that only a GPU can show, in one call of at most ten minutes, without a network:
#
#     bash benchmarks/gpu_check.sh
#
# builds the library for this machine's GPU, runs the tests that need one, small cases under compute-sanitizer, the networks and
# the benchmarks. Each step has a limit of its own; one that fails or runs over stops no other. Results are written as they come:
# gpu-speed-*.json, gpu-nets-*.json, gpu-passes-*.json, gpu-steps.jsonl and gpu-check.log.
#
#   OUT                   where results go (default benchmarks/results)
#   FASTDEBLUR_WHEELS     a folder with ducc0's source package, and wheels of what this machine lacks (docs/gpu.md)
#   FASTDEBLUR_GPU_TIME   seconds for all (default 570)
#   FASTDEBLUR_GPU_DRY=1  rehearsal without a GPU: nothing is built, stand-ins compute, sizes are tiny
#   FASTDEBLUR_STEPS      only these steps, e.g. "build speed"
set -u
cd "$(dirname "$0")/.." || exit 1
OUT=$(mkdir -p "${OUT:-benchmarks/results}" && cd "${OUT:-benchmarks/results}" && pwd)
DRY=${FASTDEBLUR_GPU_DRY:-}
WHEELS=${FASTDEBLUR_WHEELS:-}
PYTHON=${PYTHON:-python3}
STEPS=${FASTDEBLUR_STEPS:-}
BEGUN=$SECONDS
LIMIT=${FASTDEBLUR_GPU_TIME:-570}
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
FAILED=0
export PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=passive CUPY_CACHE_DIR="$WORK/cupy" FASTDEBLUR_COMMIT
FASTDEBLUR_COMMIT=${FASTDEBLUR_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
if [ -n "$DRY" ]; then
  DEVICE=Stand-in
else
  DEVICE=$(timeout 10 nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '"\\')
fi

# What is done, the most valuable first, and seconds for it. They sum up to LIMIT's default.
declare -A SECONDS_FOR=(
  [probe]=15 [build]=200 [parity]=95 [memcheck]=60 [racecheck]=45 [nets]=40 [recipes]=35 [speed]=50 [passes]=30
)
ORDER=()
for name in probe build parity memcheck racecheck nets recipes speed passes; do
  if [ -z "$STEPS" ] || [[ " $STEPS " == *" $name "* ]]; then ORDER+=("$name"); fi
done

: >"$OUT/gpu-steps.jsonl"
: >"$OUT/gpu-check.log"

# step NAME COMMAND...
step() {
  local name=$1 seconds code status begun=$SECONDS left sum=0 each
  shift
  left=$((LIMIT - (SECONDS - BEGUN)))
  # Its share of the time that is left: its own seconds where the steps before took theirs, else more.
  for each in "${ORDER[@]}"; do sum=$((sum + SECONDS_FOR[$each])); done
  seconds=$((left * SECONDS_FOR[$name] / sum))
  [ "$seconds" -lt 5 ] && [ "$left" -ge 5 ] && seconds=5
  ORDER=("${ORDER[@]:1}")
  echo "=== $name (at most $seconds s)" | tee -a "$OUT/gpu-check.log"
  if [ "$seconds" -lt 5 ]; then
    status="no time left" code=124
  else
    timeout -k 5 "$seconds" "$@" >"$WORK/log" 2>&1 </dev/null
    code=$?
    # A log of megabytes would not come back from a lent machine.
    tail -c 400000 "$WORK/log" >>"$OUT/gpu-check.log"
    tail -n 12 "$WORK/log"
    case $code in
      0) status=ok ;;
      77) status=skipped ;;
      124 | 137) status="ran over" ;;
      *) status=failed ;;
    esac
  fi
  [ "$code" -ne 0 ] && [ "$code" -ne 77 ] && FAILED=1
  printf '{"step": "%s", "status": "%s", "code": %d, "seconds": %d, "device": "%s", "commit": "%s"}\n' "$name" "$status" \
    "$code" $((SECONDS - begun)) "${DEVICE:-none}" "$FASTDEBLUR_COMMIT" | tee -a "$OUT/gpu-steps.jsonl"
}

probe() {
  command -v nvidia-smi >/dev/null && nvidia-smi
  command -v nvcc >/dev/null && nvcc --version | tail -n 2
  uname -a
  nproc
  "$PYTHON" --version
  "$PYTHON" - <<'PYTHON_TEXT'
from importlib import metadata

for name in ("numpy", "cupy-cuda13x", "torch", "jax", "numba", "numba-cuda", "cucim-cu13", "pybind11", "scikit-build-core", "pytest"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        print(name, "is not here")
PYTHON_TEXT
}

build() {
  if [ -n "$DRY" ]; then
    echo "dry: the installed fastdeblur is used"
    "$PYTHON" -c "import fastdeblur"
    return
  fi
  local wheels=() architecture
  if [ -n "$WHEELS" ]; then
    wheels=("$WHEELS"/*.whl)
    if [ -e "${wheels[0]}" ]; then
      "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$WORK/site" "${wheels[@]}" || return
    fi
    if compgen -G "$WHEELS/ducc0-*.tar.gz" >/dev/null; then
      mkdir -p "$WORK/ducc0" && tar -xzf "$WHEELS"/ducc0-*.tar.gz -C "$WORK/ducc0" --strip-components=1 || return
      export FASTDEBLUR_DUCC0_DIR=$WORK/ducc0
    fi
  fi
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  export CMAKE_BUILD_PARALLEL_LEVEL
  CMAKE_BUILD_PARALLEL_LEVEL=$(nproc)
  "$PYTHON" -m pip install -q --no-index --no-build-isolation --no-deps --no-compile --target "$WORK/site" --upgrade \
    -Ccmake.define.FASTDEBLUR_ISA_LEVELS=v3 -Ccmake.define.FASTDEBLUR_CUDA=ON \
    "-Ccmake.define.FASTDEBLUR_CUDA_ARCHITECTURES=${architecture:-90}" . || return
  "$PYTHON" -c "import fastdeblur, fastdeblur._cuda as core; print(fastdeblur.__file__, repr(core.why_not()), core.devices())"
}

# on_gpu EXPRESSION FILES OPTIONS...: the tests that the expression selects
on_gpu() {
  local expression=$1
  shift
  # From the tests' folder, so that the source tree does not hide what was installed.
  (cd tests && FASTDEBLUR_REQUIRE=${FASTDEBLUR_REQUIRE:-cuda,cupy} "$PYTHON" -m pytest -q -p no:cacheprovider --rootdir .. \
    -k "$expression" "$@")
}

# a_backend NAME EXPRESSION ARRAYS FILES...: what the expression selects of the files, side by side where pytest can; then of
# the real arrays' tests what ARRAYS selects, alone: they fill the device's memory, and look whether any is lost. In a rehearsal a
# stand-in computes, and files that only a device can satisfy are left out.
a_backend() {
  local name=$1 expression=$2 arrays=$3 parallel=() rehearsed=() file code
  shift 3
  if [ -n "$DRY" ]; then
    for file; do
      case $file in
        test_gpu_* | test_cuda_build.py) ;;
        *) rehearsed+=("$file") ;;
      esac
    done
    export FASTDEBLUR_STANDIN=$name FASTDEBLUR_REQUIRE=$name
    PYTHONPATH="$PWD/tests:$PYTHONPATH" on_gpu "$expression" "${rehearsed[@]}" -p standin_session
    return
  fi
  "$PYTHON" -c "import xdist" 2>/dev/null && parallel=(-n 6)
  on_gpu "$expression" "$@" "${parallel[@]}"
  code=$?
  on_gpu "$arrays" test_gpu_arrays.py && return "$code"
}

# The compiled core.
parity() {
  a_backend cuda "cuda or gpu_nets or gpu_psf" cuda test_gpu_nets.py test_gpu_psf.py test_cuda_build.py test_parity.py \
    test_deconvolver.py test_errors.py test_laws.py test_device.py test_interop.py
}

# The recipes with CuPy.
recipes() {
  a_backend cupy "cupy and not cuda" "cupy and not cuda" test_parity.py test_deconvolver.py test_errors.py test_laws.py \
    test_interop.py
}

speed() {
  "$PYTHON" benchmarks/gpu_speed.py --out "$OUT" ${DRY:+--dry}
}

networks() {
  "$PYTHON" benchmarks/gpu_nets.py --out "$OUT" ${DRY:+--dry}
}

passes() {
  if [ ! -e benchmarks/gpu_passes.cu ]; then
    echo "benchmarks/gpu_passes.cu is not here"
    return 77
  fi
  if [ -n "$DRY" ]; then
    echo "dry: nothing is compiled"
    return 77
  fi
  local architecture
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  nvcc -O3 -std=c++20 -gencode "arch=compute_$architecture,code=sm_$architecture" -Icsrc -o "$WORK/passes" \
    benchmarks/gpu_passes.cu -ldl || return
  # A cuFFT of Python's packages, which the loader does not know of.
  local cufft
  cufft=$("$PYTHON" -c 'import glob, sys
print(next((f for p in sys.path for d in ("cu13", "cufft") for f in glob.glob(f"{p}/nvidia/{d}/lib/libcufft.so.1[12]")), ""))')
  [ -n "$cufft" ] && export FASTDEBLUR_CUFFT=$cufft
  "$WORK/passes" >"$OUT/gpu-passes-sm$architecture.json"
  local code=$?
  cat "$OUT/gpu-passes-sm$architecture.json"
  return "$code"
}

# sanitizer TOOL
sanitizer() {
  if [ -n "$DRY" ]; then
    "$PYTHON" benchmarks/gpu_small.py --dry
    return
  fi
  local tool
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [ ! -x "$tool" ]; then
    echo "compute-sanitizer is not here"
    return 77
  fi
  # Our kernels, not cuFFT's.
  local ours=()
  for option in --kernel-name --filter; do
    if [ ${#ours[@]} -eq 0 ] && "$tool" --help 2>&1 | grep -q -e "$option\b"; then ours=("$option" kns=fastdeblur); fi
  done
  "$tool" --tool "$1" "${ours[@]}" --error-exitcode 9 --target-processes all --print-limit 20 "$PYTHON" \
    benchmarks/gpu_small.py
}

export PYTHONPATH="$WORK/site${PYTHONPATH:+:$PYTHONPATH}"
export -f probe build on_gpu a_backend parity recipes speed networks passes sanitizer
export OUT DRY WHEELS PYTHON WORK

for name in "${ORDER[@]}"; do
  # What build exported is lost with its shell; the others need only what it installed.
  case $name in
    memcheck | racecheck) step "$name" bash -c "sanitizer $name" ;;
    nets) step nets bash -c networks ;;
    *) step "$name" bash -c "$name" ;;
  esac
done
echo "=== done after $((SECONDS - BEGUN)) s"
cat "$OUT/gpu-steps.jsonl"
exit "$FAILED"

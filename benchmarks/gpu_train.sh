#!/usr/bin/env bash
# Trains the four networks on a GPU, one after another, in about ten minutes on one of the H100 class:
#
#     FASTDEBLUR_DATA=FOLDER benchmarks/gpu_train.sh OUT [NAME]...
#
# FOLDER holds train/bsds500, train/sunhays80 and test/set5 (45 MiB). OUT/NAME gets checkpoints, sample sheets, the model file and its
# card. Run again, it goes on where it was stopped. Needs no network, only what `pip install "fastdeblur[train]"` brings, with a
# PyTorch for CUDA.
set -euo pipefail
out=${1:?usage: FASTDEBLUR_DATA=FOLDER benchmarks/gpu_train.sh OUT [NAME]...}
: "${FASTDEBLUR_DATA:?the folder of the photos}"
shift
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(dwdn-s nafnet-s deblurgan srcnn)
for name in "${names[@]}"; do
  began=$SECONDS
  fastdeblur train --config "$name-gpu" --data "$FASTDEBLUR_DATA" --out "$out/$name" --device cuda
  echo "$name: $((SECONDS - began)) s"
done

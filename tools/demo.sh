#!/bin/sh
# Usage: demo.sh BIN FOLDER
# The main job on the shipped recordings: train, generate, build, verify.
set -eu
bin=$1 folder=$2
board=nucleo_f446re
root=$(pwd)
mkdir -p "$folder"
cd "$folder"
run() {
    printf '\n$ %s\n' "$*"
    name=$1
    shift
    "$bin/$name" "$@"
}
run lsm-edge train "$root/examples/audio.yaml"
run lsm-edge generate --board $board --model audio.lsm
run lsm-edge build --board $board
run lsm-edge verify --board $board --model audio.lsm
printf '\nThe firmware in %s/build/%s is what was trained: verified\n' "$folder" $board

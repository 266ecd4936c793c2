#!/bin/sh
# Usage: setup.sh demo|dev PYTHON VENV
# Makes a virtual environment and installs lsm-edge in it. When root on Debian, compilers come from apt; elsewhere what
# is missing comes from PyPI (ziglang: a C compiler for the host and for Arm).
set -eu
kind=$1 python=$2 venv=$3

packages=
want() { # want COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 || { shift; packages="$packages $*"; }
}
want gcc gcc libc6-dev
want arm-none-eabi-gcc gcc-arm-none-eabi
[ "$kind" = demo ] || {
    want g++ g++
    want clang clang
    [ -e "$(clang --print-file-name="libclang_rt.asan-$(uname -m).a" 2>/dev/null)" ] || packages="$packages libclang-rt-dev"
    want espeak-ng espeak-ng
    want qemu-system-arm qemu-system-arm
    want qemu-system-riscv32 qemu-system-misc
}
"$python" -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # one word a package
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

extras=offline
command -v gcc >/dev/null 2>&1 && command -v arm-none-eabi-gcc >/dev/null 2>&1 || extras=offline,zig
[ "$kind" = demo ] || extras=dev
echo "installing lsm-edge[$extras] in $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q -e ".[$extras]"

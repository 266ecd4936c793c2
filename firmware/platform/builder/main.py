"""Builds firmware.elf with arm-none-eabi-gcc or, if LSM_EDGE_TOOLCHAIN=zig, with the clang inside PyPI's ziglang.

What to compile and how is said by platformio.ini; this script only says with what.
"""

import os

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
cpu = env.BoardConfig().get("build.cpu")

if os.environ.get("LSM_EDGE_TOOLCHAIN") == "zig":
    # Zig spells cores with an underscore, and unwinds, checks and keeps frame pointers unless told not to.
    cpu = cpu.replace("-", "_")
    env["BUILD_FLAGS"] = [flag for flag in env.get("BUILD_FLAGS", []) if not flag.startswith("-mcpu=")]
    target = ["-target", "thumb-freestanding-eabi", "-mcpu=" + cpu]
    env.Replace(
        CC='"$PYTHONEXE" -m ziglang cc', AR='"$PYTHONEXE" -m ziglang ar', RANLIB='"$PYTHONEXE" -m ziglang ranlib'
    )
    env.Append(
        CCFLAGS=[
            *target,
            "-fomit-frame-pointer",
            "-fno-unwind-tables",
            "-fno-asynchronous-unwind-tables",
            "-fno-stack-protector",
            "-fno-sanitize=all",
        ],
        LINKFLAGS=[*target, "-O2"],
    )
else:
    env.Replace(CC="arm-none-eabi-gcc", AR="arm-none-eabi-gcc-ar", RANLIB="arm-none-eabi-gcc-ranlib")
    env.Append(LINKFLAGS=["-mcpu=" + cpu, "-mthumb"])

env.Replace(LINK="$CC", PROGNAME="firmware", PROGSUFFIX=".elf")
Default(env.Alias("buildprog", env.BuildProgram()))

"""Tells the linker what platformio.ini cannot: start at our reset handler, no C library, only the compiler's own."""

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
env.Append(LINKFLAGS=["-nostdlib", "-Wl,--entry=Reset_Handler"])
env.Replace(LIBS=[library for library in env.get("LIBS", []) if library not in ("c", "gcc", "m", "stdc++")] + ["gcc"])

"""Compiles our own kernels, and has them assembled for every GPU that is served; kernel.sh fetches what this needs."""

import ctypes
import difflib
import pathlib
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path("src/engine/tensorrt")
# The oldest GPU (Jetson Nano, TX1), and a version of PTX that the driver of JetPack 5 reads: NVRTC writes its own
# version, which newer drivers alone read. The assemblers below hold the text to the older one.
ARCHITECTURE, PTX_VERSION = "compute_53", "6.0"
# Nano, TX2, Xavier, Orin, H100; Orin and Thor by the next CUDA.
ASSEMBLED = {"nvidia_cuda_nvcc_cu12-*": [53, 62, 72, 86, 87, 90], "nvidia_cuda_nvcc-13*": [87, 90, 110]}


class Nvrtc:
    """NVIDIA's compiler as a library."""

    def __init__(self, library):
        self.library, self.program = ctypes.CDLL(str(library)), ctypes.c_void_p()

    def text(self, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(self.program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(self.program, buffer)
        return buffer.value.decode()

    def compile(self, source, architecture):
        create = self.library.nvrtcCreateProgram
        if create(ctypes.byref(self.program), source.read_bytes(), source.name.encode(), 0, None, None):
            sys.exit("NVRTC does not start")
        options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        if self.library.nvrtcCompileProgram(self.program, 1, options):
            sys.exit(self.text("ProgramLog"))
        return self.text("PTX")


def found(folder, pattern):
    return next(path for path in sorted(folder.glob(pattern)) if path.is_file())


def compiled(compilers):
    library = found(compilers, "nvidia_cuda_nvrtc_cu12-*/**/libnvrtc.so.12")
    ctypes.CDLL(str(found(library.parent, "libnvrtc-builtins.so.12*")), ctypes.RTLD_GLOBAL)
    ptx = Nvrtc(library).compile(FOLDER / "kernels.cu", ARCHITECTURE)
    body = re.sub(r"\.version .*", f".version {PTX_VERSION}", ptx[ptx.index(".version") :], count=1)
    return f"// kernels.cu as `make kernel` compiles it; not to be edited.\n\n{body.rstrip()}\n"


def assemble(compilers, ptx):
    for package, architectures in ASSEMBLED.items():
        assembler = found(compilers, f"{package}/**/ptxas")
        assembler.chmod(0o755)
        for architecture in architectures:
            with tempfile.NamedTemporaryFile() as out:
                command = [assembler, "--verbose", "--gpu-name", f"sm_{architecture}", "--output-file", out.name, ptx]
                said = subprocess.run(command, capture_output=True, text=True, check=False)
            if said.returncode != 0:
                sys.exit(f"sm_{architecture}: {said.stderr}")
            used = [line.split(":", 1)[-1].strip() for line in said.stderr.splitlines() if "registers" in line]
            print(f"sm_{architecture:<4} {package.strip('*-')}: {'; '.join(used)}")


def main():
    action, compilers = sys.argv[1], pathlib.Path(sys.argv[2])
    ptx = FOLDER / "kernels.ptx"
    text = compiled(compilers)
    if action == "write":
        ptx.write_text(text)
    elif ptx.read_text() != text:
        changes = difflib.unified_diff(ptx.read_text().splitlines(), text.splitlines(), "kernels.ptx", "kernels.cu, compiled", lineterm="")
        sys.exit("\n".join(changes) + f"\n{ptx} is not what kernels.cu compiles to; cure: make kernel")
    if "div.rn.f32" not in text:
        sys.exit(f"{ptx}: the division is not that of IEEE 754, so the CPU's numbers differ")
    assemble(compilers, ptx)


if __name__ == "__main__":
    main()

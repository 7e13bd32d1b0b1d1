"""What the clinic says of twelve files, how long and how much memory it takes, against others that look into checkpoints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from benchmarks.measure import Line, middle

OTHERS = ("ckptkit==0.3.0", "checkpoint-lens==0.1.2")
TOOLS = {
    "here": "from helpers.clinic import examine\ntell = lambda path: str(examine(path))",
    "ckptkit": """import ckptkit
def tell(path):
    found = ckptkit.validate(path)
    return f"{ckptkit.inspect(path).n_parameters:,} parameters, {found}" if found.valid else str(found)
""",
    "checkpoint-lens": "import checkpoint_lens\ntell = lambda path: str(checkpoint_lens.inspect(path))",
    "torch.load": "import torch\ntell = lambda path: str(torch.load(path, map_location='cpu'))",
}
RUN = """
import json, sys, time, warnings
from benchmarks.measure import resident
warnings.simplefilter("ignore")
{tool}
tell(sys.argv[1])
for path in sys.argv[2:]:
    open("/proc/self/clear_refs", "w").write("5")
    before, start = resident("VmRSS"), time.perf_counter()
    try:
        said = tell(path)
    except BaseException as error:
        said = f"{{type(error).__name__}}: {{error}}"
    print(json.dumps([time.perf_counter() - start, resident("VmHWM") - before, said]))
"""
HEAD = """
## What each says of twelve files

A cell holds the words that tell what the file is or lacks, if they are said, else the first line of what is said. The
others take no model, so whether it fits and what cures it only the clinic says. Where they are better: checkpoint-lens
tells layers from the shapes, builds a model of them that runs, and shows it in 3D; ckptkit compares two files, merges
LoRA, converts, and reads the header of GGUF. The clinic does none of these.

"""


def _files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Twelve files, and a word that tells what is wrong with each."""
    state = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).state_dict()
    whole, made = folder / "whole.pth", {}
    torch.save(state, whole)

    def case(name: str, ending: str, word: str, data: bytes) -> Path:
        path = folder / f"case-{len(made)}{ending}"
        path.write_bytes(data)
        made[name] = (path, word)
        return path

    good = whole.read_bytes()
    case("a whole state dict", ".pth", "4,?420", good)
    case("cut in half", ".pth", "end is missing", good[: len(good) // 2])
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    case("one bit flipped", ".pth", "damaged", bytes(flipped))
    case("a web page", ".pth", "web page", b"<!DOCTYPE html><html></html>")
    case("a Git LFS pointer", ".pth", "LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    case("empty", ".pth", "empty", b"")
    torch.save(nn.Linear(2, 2), case("a whole model", ".pth", "whole model|full_module", b""))
    torch.save(
        {"epoch": 3, "state_dict": state},
        case("the weights in a checkpoint", ".pth", "\\['state_dict'\\]|NETWORK: state_dict|4,420 parameters", b""),
    )
    torch.save({"model": {"0.weight": state["0.weight"] * float("nan")}}, case("not a number", ".pth", "NaN", b""))
    torch.save({"rows": torch.zeros(1_000_000)[:10]}, case("a slice with its storage", ".pth", "storage", b""))
    save_file(dict(state), folder / "model.safetensors")
    tensors = (folder / "model.safetensors").read_bytes()
    case("safetensors, cut", ".safetensors", "end is missing|exceeds|incomplete", tensors[:-100])
    case("safetensors, named .pth", ".pth", "safetensors", tensors)
    return made


def _told(tool: str, there: Path, *paths: Path) -> list[tuple[float, float, str]]:
    """Seconds, MiB and words for each path but the first, which warms up."""
    code = f"import sys\nsys.path.append({str(there)!r})\n{RUN.format(tool=TOOLS[tool])}"
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")][1 - len(paths) :]


def _cell(said: str, word: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip(" =")]
    found = next((line for line in lines if re.search(word, line, re.IGNORECASE)), None)
    shown = found or (lines or ["nothing"])[0]
    return f"{'**yes**' if found else 'no'}: {shown.replace('|', '/')[:90]}"


def measure(repeats: int = 3) -> tuple[list[Line], str]:
    """Time and memory of a whole 256 MB file as ratios, and the table of what each says. Fetches the others by pip."""
    with tempfile.TemporaryDirectory() as name:
        folder, there = Path(name), Path(name) / "others"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(there), *OTHERS]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except subprocess.CalledProcessError:
            return [], f"{HEAD}{' and '.join(OTHERS)} could not be had when this ran.\n"
        made, large = _files(folder), folder / "large.pth"
        torch.save({f"{k}.weight": torch.rand(1 << 20) for k in range(64)}, large)
        warm = folder / "whole.pth"
        runs = {tool: [_told(tool, there, warm, large)[0] for _ in range(repeats)] for tool in tqdm(TOOLS, "clinics")}
        took = {tool: middle([one[0] for one in told]) for tool, told in runs.items()}
        memory = {tool: middle([one[1] for one in told]) for tool, told in runs.items()}
        rows = [f"| file | {' | '.join(TOOLS)} |", "|---" * (len(TOOLS) + 1) + "|"]
        said = [_told(tool, there, warm, *(path for path, _ in made.values())) for tool in tqdm(TOOLS, "twelve files")]
        for (case, (_, word)), told in zip(made.items(), zip(*said)):
            rows.append(f"| {case} | {' | '.join(_cell(words.replace(f'{name}/', ''), word) for _, _, words in told)} |")
    others = list(took)[1:]
    against = ", ".join(f"{tool} {took[tool] / took['here']:.1f} × as long, {memory[tool]:.0f} MB" for tool in others)
    line = Line(
        "the clinic on a file of 256 MB",
        f"{1000 * took['here']:.0f} ms, {memory['here']:.0f} MB",
        against,
        "≤ 20 MB, no longer than any",
        memory["here"] <= 20 and took["here"] <= min(took[tool] for tool in others),
    )
    return [line], HEAD + "\n".join(rows) + "\n"

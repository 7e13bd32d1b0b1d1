"""A run that may be killed and goes on: train.py FOLDER STEPS [KILL_AT]"""
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader


def save(contents, path):
    with open(path.with_name(f"{os.urandom(8).hex()}.part"), "xb") as file:
        torch.save(contents, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


def generators():
    name, key, *rest = np.random.get_state()
    return {"python": random.getstate(), "torch": torch.get_rng_state(),
            "numpy": (name, torch.from_numpy(key), *rest)}


def restore_generators(saved):
    random.setstate(saved["python"])
    torch.set_rng_state(saved["torch"])
    name, key, *rest = saved["numpy"]
    np.random.set_state((name, key.numpy(), *rest))


folder, steps, *kill_at = Path(sys.argv[1]), *map(int, sys.argv[2:])
for seed in (random.seed, np.random.seed, torch.manual_seed):
    seed(0)
x = torch.randn(64, 2, dtype=torch.float64)
y = x[:, :1] - x[:, 1:].abs()
shuffle = torch.Generator().manual_seed(0)
loader = DataLoader([*zip(x, y, range(64))], 4, shuffle=True, generator=shuffle)
model = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(),
                      nn.Dropout(0.2), nn.Linear(16, 1)).double()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 20))
parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}

step, done, checkpoint = 0, 0, folder / "checkpoint.pth"
if checkpoint.exists():
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    step, done = saved["step"], saved["batch"]
    shuffle.set_state(saved["shuffle"])

while step < steps:
    shuffle_at_epoch_start = shuffle.get_state()
    batches = enumerate(loader, 1)
    if done:
        for _ in range(done):
            next(batches)
        restore_generators(saved)
        done = 0
    for batch, (inputs, targets, rows) in batches:
        noise = random.gauss(0, 0.05) + np.random.normal(0, 0.05)
        loss = nn.functional.mse_loss(model(inputs + noise), targets)
        (loss / 2).backward()
        if batch % 2 == 1 or step == steps:
            continue
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        step += 1
        print(step, loss.item(), *rows.tolist(), flush=True)
        if step % 5 == 0 or step == steps:
            states = {name: part.state_dict() for name, part in parts.items()}
            save({**states, **generators(), "step": step, "batch": batch,
                  "shuffle": shuffle_at_epoch_start}, checkpoint)
        if step in kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

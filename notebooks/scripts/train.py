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
        file.flush(), os.fsync(file.fileno())
    os.replace(file.name, path)


folder, steps, *kill_at = Path(sys.argv[1]), *map(int, sys.argv[2:])
random.seed(0), np.random.seed(0), torch.manual_seed(0)
x = torch.randn(64, 2, dtype=torch.float64)
shuffle, y = torch.Generator().manual_seed(0), x[:, :1] - x[:, 1:].abs()
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
    order, batches = shuffle.get_state(), enumerate(loader, 1)
    if [next(batches) for _ in range(done)]:
        name, key, *rest = saved["numpy"]
        np.random.set_state((name, key.numpy(), *rest))
        random.setstate(saved["python"]), torch.set_rng_state(saved["torch"])
    for batch, (inputs, targets, rows) in batches:
        noise = random.gauss(0, 0.05) + np.random.normal(0, 0.05)
        loss = nn.functional.mse_loss(model(inputs + noise), targets)
        (loss / 2).backward()
        if batch % 2 == 0 and step < steps:
            optimizer.step(), scheduler.step(), optimizer.zero_grad()
            step += 1
            print(step, loss.item(), *rows.tolist(), flush=True)
            if step % 5 == 0 or step == steps:
                name, key, *rest = np.random.get_state()
                states = {name: part.state_dict() for name, part in parts.items()}
                save({**states, "step": step, "batch": batch, "shuffle": order,
                      "torch": torch.get_rng_state(), "python": random.getstate(),
                      "numpy": (name, torch.from_numpy(key), *rest)}, checkpoint)
            if step in kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    done = 0

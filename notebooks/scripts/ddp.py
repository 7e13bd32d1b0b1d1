"""Every rank holds the whole model; rank 0 writes it: ddp.py FOLDER"""
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn, optim
from torch.nn.parallel import DistributedDataParallel


def save(contents, path):
    if dist.get_rank() == 0:
        part = path.with_suffix(".part")
        torch.save(contents, part)
        os.replace(part, path)
    dist.barrier()


if not dist.is_initialized():
    dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
folder = Path(sys.argv[1])

torch.manual_seed(0)
x = torch.randn(64, 2)
y = x[:, :1] - x[:, 1:].abs()
model = DistributedDataParallel(nn.Sequential(
    nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)))
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for step in range(3):
    rows = slice(rank, None, ranks)
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

own = model.module.state_dict()
save({"model": own, "optimizer": optimizer.state_dict()}, folder / "ddp.pth")
read = torch.load(folder / "ddp.pth", map_location="cpu", weights_only=True)["model"]

same = {key: torch.equal(tensor, read[key]) for key, tensor in own.items()}
found = [None] * ranks
dist.all_gather_object(found, (round(loss.item(), 4), same))
if rank == 0:
    print("each rank's loss:", *(loss for loss, _ in found))
    print("each tensor on each rank, compared with the file:")
    for key in own:
        print(f"{key:22}", *(same[key] for _, same in found))

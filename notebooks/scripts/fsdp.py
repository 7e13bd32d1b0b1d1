"""Each rank holds some rows of each tensor, and all write one folder: fsdp.py FOLDER"""
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn, optim
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

if not dist.is_initialized():
    dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()

torch.manual_seed(0)
x = torch.randn(64, 2)
y = x[:, :1] - x[:, 1:].abs()
model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
mesh = init_device_mesh("cpu", (ranks,))
for layer in (*model, model):
    fully_shard(layer, mesh=mesh)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for step in range(3):
    rows = slice(rank, None, ranks)
    loss = nn.functional.mse_loss(model(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

weights, state = get_state_dict(model, optimizer)
dcp.save({"model": weights, "optimizer": state}, checkpoint_id=f"{sys.argv[1]}/sharded")

for turn in range(ranks):
    if turn == rank:
        for key, tensor in model.state_dict().items():
            here = tuple(tensor.to_local().shape)
            print(f"rank {rank}: {key:9} {tuple(tensor.shape)}, here {here}\n", end="")
    dist.barrier()

"""Saved by 1, 2 or 4 of four ranks, loaded by 1, 2 or 4: regroup.py FOLDER"""
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn, optim
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


def start(seed, group):
    torch.manual_seed(seed)
    x = torch.randn(8, 2)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    fully_shard(model, mesh=DeviceMesh.from_group(group, "cpu"))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(x).square().mean().backward()
    optimizer.step()
    return model, optimizer


def tensors(model, optimizer):
    weights, state = get_state_dict(model, optimizer)
    momentum = {f"{key} momentum": buffers["momentum_buffer"]
                for key, buffers in state["state"].items()}
    return {key: t.full_tensor() for key, t in {**weights, **momentum}.items()}


def save(model, optimizer, path, group):
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=path,
             process_group=group)


def load(model, optimizer, path, group):
    weights, state = get_state_dict(model, optimizer)
    dcp.load({"model": weights, "optimizer": state}, checkpoint_id=path,
             process_group=group)
    set_state_dict(model, optimizer, model_state_dict=weights,
                   optim_state_dict=state)


if not dist.is_initialized():
    dist.init_process_group("gloo")
rank, folder = dist.get_rank(), Path(sys.argv[1])
groups = {size: dist.new_group(range(size)) for size in (1, 2, 4)}

before = {}
for size, group in groups.items():
    if rank < size:
        run = start(0, group)
        save(*run, folder / f"by {size}", group)
        before[size] = tensors(*run)
dist.barrier()

for size, group in groups.items():
    for writers in groups:
        if rank < size:
            run = start(1, group)
            load(*run, folder / f"by {writers}", group)
            after = tensors(*run)
        if rank == 0:
            rows = [(key, old.sum().item(), after[key].sum().item(),
                     torch.equal(old, after[key]))
                    for key, old in before[writers].items()]
            print(json.dumps({"saved": writers, "loaded": size, "tensors": rows}))
        dist.barrier()

"""What both stages of training share: equal worker processes, the optimizer, the loop with its progress line.

Each worker runs one thread on its own share of a step's pictures, and gradients are summed between them: on a CPU two
such processes do twice the work of one process with two threads. A GPU has one worker. What is saved is the exported
pair: training goes on from it, with a new optimizer.
"""
import math
import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from pair import pair_write

SAVE_S, PROGRESS_S = 240, 30
BETAS, DECAY, MOMENTUM = (0.9, 0.98), 0.05, 0.95
WARM_STEPS = 40
FINAL_RATE = 0.04  # of the learning rate, at the end


# ---- workers ----


def options_add(parser):
    parser.add_argument("--minutes", type=float, default=60, help="how long to train, in time of one core (the first worker's)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes on a CPU (default: one a core)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16: faster where the processor has them")
    parser.add_argument("--batch", type=int, default=64, help="pictures a step, over all workers")
    parser.add_argument("--rate", type=float, default=1, help="times the learning rates: less for what is trained already")
    parser.add_argument("--seed", type=int, default=1)


def launch(function, options):
    """Runs function(options, rank) in each worker."""
    if options.device != "cpu":
        options.workers = 1
    if options.workers == 1:
        return function(options, 0)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # which torch's own setting does not reach
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        options.address = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    multiprocessing.spawn(worker, (function, options), options.workers)


def worker(rank, function, options):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", options.address, rank=rank, world_size=options.workers)
    function(options, rank)


# ---- optimizer ----


def orthogonal(x, dtype):
    """Newton-Schulz: every singular value of each matrix [n][rows][columns] goes to about 1 (K. Jordan's Muon, 2024)."""
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(5):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return x


class Optimizer:
    """Muon for the matrices of the blocks, AdamW for all else; gradients lie in one buffer that workers sum.

    groups: [(module, AdamW's rate, Muon's rate)]. The matrices' updates are shared out among the workers."""

    def __init__(self, groups, options, rank):
        self.n_workers, self.rank = options.workers, rank
        self.dtype = torch.bfloat16 if options.bf16 else torch.float32
        self.parameters, self.matrices, adam = [], [], []
        for module, rate, muon_rate in groups:
            for name, p in module.named_parameters():
                self.parameters.append(p)
                if name.startswith("blocks.") and p.dim() == 2:
                    n_parts = 3 if "qkv" in name and p.shape[0] == 3 * p.shape[1] else 2 if "gate_up" in name else 1
                    self.matrices += [(p, part, n_parts, muon_rate) for part in range(n_parts)]
                else:
                    adam.append({"params": [p], "weight_decay": DECAY if p.dim() > 1 else 0, "rate": rate})
        self.adam = torch.optim.AdamW(adam, lr=1e-3, betas=BETAS)
        if self.n_workers > 1:  # all begin with the first one's
            for p in self.parameters:
                dist.broadcast(p.data, 0)
        n = sum(p.numel() for p in self.parameters)
        self.gradient = torch.zeros(n, device=self.parameters[0].device)
        self.update = torch.zeros_like(self.gradient)
        self.momentum = {}
        self.views, at = {}, 0
        for p in self.parameters:
            p.grad = self.gradient[at : at + p.numel()].view_as(p)
            self.views[p] = self.update[at : at + p.numel()].view_as(p)
            at += p.numel()

    def step(self, scale):
        """scale: of the rates. Takes the gradients, leaves them zero. -> their norm"""
        if self.n_workers > 1:
            dist.all_reduce(self.gradient)
            self.gradient /= self.n_workers
        norm = self.gradient.norm()
        self.gradient *= (1 / (norm + 1e-6)).clamp_max(1)
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * scale
        self.adam.step()
        self.muon(scale)
        self.gradient.zero_()
        return norm.item()

    @torch.no_grad()
    def muon(self, scale):
        mine = {}  # by shape: one batched product for all matrices of a shape
        for i, (p, part, n_parts, _) in enumerate(self.matrices):
            if i % self.n_workers == self.rank:
                g = p.grad.chunk(n_parts)[part]
                m = self.momentum.setdefault((p, part), torch.zeros_like(g)).mul_(MOMENTUM).add_(g)
                step = g + MOMENTUM * m
                wide = step if step.shape[0] <= step.shape[1] else step.t()
                mine.setdefault(tuple(wide.shape), []).append((i, wide))
        self.update.zero_()
        for group in mine.values():
            for (i, wide), x in zip(group, orthogonal(torch.stack([w for _, w in group]), self.dtype)):
                p, part, n_parts, _ = self.matrices[i]
                to = self.views[p].chunk(n_parts)[part]
                to.copy_(x if to.shape == wide.shape and to.shape[0] <= to.shape[1] else x.t())
        if self.n_workers > 1:
            dist.all_reduce(self.update)
        for p, part, n_parts, rate in self.matrices:
            w, u = p.data.chunk(n_parts)[part], self.views[p].chunk(n_parts)[part]
            w.mul_(1 - rate * scale * 0.01).add_(u, alpha=-rate * scale * max(1, w.shape[0] / w.shape[1]) ** 0.5)


# ---- the loop ----


def rate_scale(step, done):
    return min(1, (step + 1) / WARM_STEPS) * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def train(options, rank, model, tokenizer, groups, step_loss, evaluate):
    """step_loss(done) gives a loss and {name: value} for the progress line; evaluate() a text; rank 0 saves the pair.

    The learning rate falls with the first worker's processor time, which a pause does not use up."""
    optimizer = Optimizer(groups, options, rank)
    start = last_line = last_save = time.process_time()
    step, means, done = 0, {}, 0.0
    while done < 1:
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
            loss, values = step_loss(done)
        loss.backward()
        values = {"loss": loss.item(), **values, "gradient": optimizer.step(options.rate * rate_scale(step, done))}
        means = {k: v + 0.95 * (means.get(k, v) - v) for k, v in values.items()}
        step += 1
        now = time.process_time()
        clock = torch.tensor([(now - start) / (60 * options.minutes)])
        if options.workers > 1:
            dist.broadcast(clock, 0)
        done = clock.item()
        if rank:
            continue
        if now - last_line > PROGRESS_S or done >= 1:
            last_line = now
            line = " ".join(f"{k} {v:.3f}" for k, v in means.items())
            rate, left = step * options.batch / (now - start), (1 - done) * options.minutes
            print(f"step {step} {line} | {rate:.0f} pictures/s, {max(left, 0):.1f} minutes left", flush=True)
        if now - last_save > SAVE_S or done >= 1:
            pair_write(options.out, model, tokenizer)
            print("saved;", evaluate(), flush=True)
            last_save = time.process_time()

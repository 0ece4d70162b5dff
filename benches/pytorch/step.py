"""Training steps of Velodrome's workloads beside the same steps in PyTorch, in turns of one run.

`--check` compares the models' numbers of trainable parameters instead and takes no time. README.md says more.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import torch

from layers import sizes
from workloads import WORKLOADS, random_batch

WARM_UP = 3
PARTS = ("step", "forward", "backward", "update")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", help="which; all bases of laptop size where left out")
    parser.add_argument("--velodrome", default="target/release/velodrome", help="the binary")
    parser.add_argument("--threads", type=int, default=2, help="of each of the two")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each of the two")
    parser.add_argument("--steps", type=int, default=15, help="steps of a turn that count")
    parser.add_argument(
        "--adamw",
        choices=("fused", "foreach", "loop"),
        default="fused",
        help="which of PyTorch's AdamWs; `loop` is its default on a CPU, `fused` its fastest",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--check", action="store_true", help="compare the models and time nothing")
    return parser.parse_args()


class Velodrome:
    """The command."""

    def __init__(self, binary: str, threads: int):
        self.binary = binary
        self.environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        # An allocator that is put under PyTorch; Velodrome brings its own.
        self.environment.pop("LD_PRELOAD", None)

    def run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [self.binary, *words], env=self.environment, capture_output=True, text=True
            )
        except OSError as error:
            sys.exit(f"{self.binary}: {error.strerror}; --velodrome names the binary")
        if done.returncode != 0:
            sys.exit(f"{self.binary} {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def list(self) -> dict[str, dict]:
        """All workloads by name."""
        rows = json.loads(self.run("list", "workloads", "--format", "json"))
        return {row["name"]: row for row in rows}

    def bench(self, name: str, steps: int) -> dict:
        """One turn's medians, with the shapes of the batch."""
        row = json.loads(self.run("bench", name, "--rounds", str(steps), "--format", "json"))[0]
        if "fields" not in row:
            sys.exit(f"{self.binary}: `bench` does not tell the shapes of a batch; build it again")
        return row


def chosen(named: list[str], listed: dict[str, dict]) -> list[str]:
    """The workloads to take. Fails where one of Velodrome's has no model here."""
    bases = [
        name
        for name, row in listed.items()
        if row["size"] == "laptop" and row["base"] is None and row["track"] == "pretrain"
    ]
    names = named or bases
    for name in names:
        if name not in WORKLOADS:
            sys.exit(f"{name}: there is no such model in PyTorch here (workloads.py)")
        if name not in listed:
            sys.exit(f"{name}: Velodrome has no such workload")
    return names


def check(names: list[str], listed: dict[str, dict]) -> int:
    """Compares numbers of trainable parameters; how many differ."""
    differ = 0
    for name in names:
        here, there = sizes(WORKLOADS[name].model()), listed[name]["parameters"]
        verdict = "the same" if here == there else "NOT THE SAME"
        differ += here != there
        print(f"{name}: {here:,} trainable parameters in PyTorch, {there:,} in Velodrome: {verdict}")
    return differ


def adamw(model: torch.nn.Module, which: str) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad),
        lr=1e-5,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
        fused=which == "fused",
        foreach=which == "foreach",
    )


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: dict) -> dict[str, float]:
    """Milliseconds of a forward pass without graph, of both passes, and of the update."""
    start = time.perf_counter()
    with torch.no_grad():
        model(batch)
    forward = time.perf_counter() - start

    start = time.perf_counter()
    model(batch).backward()
    both = time.perf_counter() - start

    start = time.perf_counter()
    optimizer.step()
    optimizer.zero_grad()
    update = time.perf_counter() - start
    return {"forward": 1e3 * forward, "both": 1e3 * both, "update": 1e3 * update}


def turn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: dict, steps: int) -> dict:
    """One turn's medians, taken as `velodrome bench` takes them."""
    taken = [step(model, optimizer, batch) for _ in range(WARM_UP + steps)][WARM_UP:]
    forward, both, update = (median(taken, part) for part in ("forward", "both", "update"))
    return {
        "step_ms": statistics.median(s["both"] + s["update"] for s in taken),
        "forward_ms": forward,
        "backward_ms": max(both - forward, 0.0),
        "update_ms": update,
    }


def median(rows: list[dict], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def measure(name: str, velodrome: Velodrome, options: argparse.Namespace) -> dict:
    """Medians over all turns of both, which never run at the same time."""
    torch.manual_seed(0)
    model = WORKLOADS[name].model().train()
    optimizer = adamw(model, options.adamw)
    batch = None
    ours, theirs = [], []
    for at in range(options.rounds):
        print(f"{name}: round {at + 1} of {options.rounds}", file=sys.stderr)
        ours.append(velodrome.bench(name, options.steps))
        if batch is None:
            batch = random_batch(name, ours[0])
        theirs.append(turn(model, optimizer, batch, options.steps))
    row = {"workload": name, "examples": ours[0]["examples"]}
    for who, turns in (("velodrome", ours), ("pytorch", theirs)):
        row[who] = {f"{part}_ms": median(turns, f"{part}_ms") for part in PARTS}
    row["ratio"] = row["velodrome"]["step_ms"] / row["pytorch"]["step_ms"]
    return row


def machine(options: argparse.Namespace, velodrome: Velodrome) -> dict:
    """Where, when and with what."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = models[0] if models else cpu
    return {
        "cpu": cpu,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "velodrome": velodrome.run("--version").split()[-1],
        "adamw": options.adamw,
        "allocator": os.path.basename(os.environ.get("LD_PRELOAD", "")) or "the system's",
        "rounds": options.rounds,
        "steps": options.steps,
    }


def markdown(about: dict, rows: list[dict]) -> str:
    lines = [
        f"{about['cpu']} ({about['vectors']}), {about['cores']} cores, {about['threads']} threads; "
        f"{about['date']}; velodrome {about['velodrome']}, torch {about['torch']}, its {about['adamw']} "
        f"AdamW, {about['allocator']} allocator; milliseconds, medians of {about['rounds']} rounds in turns, each the median of "
        f"{about['steps']} steps; forward / backward / update.",
        "",
        "| workload | examples | Velodrome | PyTorch | ratio | Velodrome's parts | PyTorch's parts |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ours, theirs = row["velodrome"], row["pytorch"]
        parts = [" / ".join(f"{of[f'{part}_ms']:.2f}" for part in PARTS[1:]) for of in (ours, theirs)]
        lines.append(
            f"| {row['workload']} | {row['examples']} | {ours['step_ms']:.2f} | {theirs['step_ms']:.2f} "
            f"| {row['ratio']:.2f} | {parts[0]} | {parts[1]} |"
        )
    return "\n".join(lines)


def main() -> int:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    velodrome = Velodrome(options.velodrome, options.threads)
    listed = velodrome.list()
    names = chosen(options.workloads, listed)
    if options.check:
        return 1 if check(names, listed) else 0
    rows = [measure(name, velodrome, options) for name in names]
    about = machine(options, velodrome)
    if options.json:
        print(json.dumps({"machine": about, "workloads": rows}, indent=2))
    else:
        print(markdown(about, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

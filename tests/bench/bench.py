"""make bench: what design promises in figures, each beside a peer in the same run.

A machine that others use makes every figure worse and hardly moves a ratio: look at the ratio
first. A measurement is a function `measure(report)` of the module of its name; it adds rows."""

import json
import os
import statistics
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("BUILD", "build")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import harness  # noqa: E402
import run  # noqa: E402

NAMES = ("schema", "save", "boot", "idle", "restart")


def median(values):
    return statistics.median(values)


def percentile(values, percent):
    """Nearest rank: of a hundred values the 99th is the second largest."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def now_ms():
    return time.monotonic_ns() / 1e6


def program(name):
    return os.path.join(harness.BUILD, "bench", name)


class Report:
    def __init__(self):
        self.rows, self.failures = [], []

    def add(self, what, figure, unit, budget=None, peer=None, peer_figure=None, limit=None, **more):
        """One figure. budget is on the figure, limit on its ratio to the peer's; more: for the file."""
        ratio = figure / peer_figure if peer_figure else None
        if budget is not None:
            over = figure > budget
        else:
            over = ratio is not None and limit is not None and ratio > limit
        judged = budget is not None or limit is not None
        self.rows.append(dict(what=what, figure=figure, unit=unit, budget=budget, limit=limit, peer=peer,
                              peer_figure=peer_figure, ratio=ratio,
                              verdict="OVER" if over else "ok" if judged else "", **more))
        print(f"  {what}: {number(figure)} {unit}", file=sys.stderr, flush=True)

    def table(self):
        head = ("what", "figure", "budget", "peer", "of peer", "")
        lines = [head]
        for row in self.rows:
            budget = "" if row["budget"] is None else f"{number(row['budget'])} {row['unit']}"
            if row["limit"] is not None:
                budget = f"{row['limit']:.2f} of peer"
            peer = ""
            if row["peer"]:
                peer = row["peer"]
                if row["peer_figure"] is not None:
                    peer += f": {number(row['peer_figure'])} {row['unit']}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
            lines.append((row["what"], f"{number(row['figure'])} {row['unit']}", budget, peer, ratio, row["verdict"]))
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def save(self, path):
        with open(path, "w") as f:
            json.dump({"cores": os.cpu_count(), "load": os.getloadavg()[0], "rows": self.rows,
                       "failures": self.failures}, f, indent=1)
            f.write("\n")


def number(value):
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


class Bench(harness.Home):
    """Own directories for one measurement; gone at the end of the with block, processes and all."""

    def __init__(self, name, images=False, stand_in=False):
        super().__init__("bench-" + name, images=images)
        self.stand_in_log = os.path.join(self.dir, "stand-in.log")
        if stand_in:
            shadow = os.path.join(self.dir, "bin")
            os.makedirs(shadow)
            os.symlink(program("bench_stand_in"), os.path.join(shadow, "qemu-system-x86_64"))
            self.env["PATH"] = shadow + os.pathsep + self.env["PATH"]
            self.env["BENCH_STAND_IN"] = self.stand_in_log
        # The pool of a measurement is the machine: what the last one left to be written goes first.
        os.sync()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for problem in self.close(kind is not None):
            print(problem[:4000], file=sys.stderr)

    def fill_store(self, path, stack, source, watched=False):
        """name -> id of rows that say: all of the file is there already."""
        database = os.path.join(self.state, "banger.db")
        done = harness.subprocess.run(
            [program("bench_store"), path, stack, source, str(int(watched)), database],
            check=True, capture_output=True, text=True)
        return dict(line.split() for line in done.stdout.splitlines())

    def boot_daemon(self):
        self.banger("ps", "-o", "name")
        return self.daemon_pid()

    def stand_ins(self, path=None):
        """[(CLOCK_MONOTONIC ns, argv)] of every start so far."""
        try:
            with open(path or self.stand_in_log, "rb") as f:
                lines = f.read().split(b"\0\n")
        except OSError:
            return []
        cells = [line.split(b"\0") for line in lines if line]
        return [(int(cell[0]), [word.decode() for word in cell[1:]]) for cell in cells]


def main():
    names = sys.argv[1:] or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"bench: no measurement '{unknown[0]}', there are: {' '.join(NAMES)}", file=sys.stderr)
        return 2
    try:
        os.nice(-10)  # the peers inherit it just the same
    except OSError:
        pass
    report = Report()
    if set(names) & {"save", "boot", "restart"}:
        run.prepare_images(["tiny"])
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            __import__("measure_" + name).measure(report)
        except Exception as error:  # noqa: BLE001 - said at the end, the others are measured all the same
            traceback.print_exc()
            report.failures.append(f"{name}: {error}")
    report.save(os.path.join(harness.BUILD, "bench.json"))
    print(report.table())
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, nice {os.nice(0)}")
    for failure in report.failures:
        print(f"could not be measured: {failure.splitlines()[0]}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    # The measurements import this module by its name: let there be one of it.
    sys.modules["bench"] = sys.modules["__main__"]
    sys.exit(main())

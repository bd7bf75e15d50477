"""What docs/benchmarks.md has, in its order: a run of one benchmark each, and what to know of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's run and its place on the page.

    Attributes:
        name: for `--only`.
        title: its heading.
        command: the file and its options.
        quick: options for a quick run, which come after those.
        text: what is measured, and what to know of it.
        columns: heads of what is ours and of what it is compared with.
    """

    name: str
    title: str
    command: tuple[str, ...]
    quick: tuple[str, ...]
    text: str
    columns: tuple[str, str] = ("vflc", "other")


SECRETFLOW = (
    "https://github.com/secretflow/secretflow/blob/main/docs/developer/benchmark/overall_benchmark.md"
)
CONTEST = ("--starts", "1", "--rounds", "1", "--seconds", "0.3")
SECTIONS = (
    Section(
        "deepfm",
        "DeepFM beside other frameworks",
        ("deepfm.py", "--starts", "2", "--rounds", "3", "--seconds", "1.2"),
        (*CONTEST, "--rows", "20000"),
        "specs/deepfm, split over two parties in one process, beside the same model unsplit in Keras, "
        "PyTorch and JAX, each in a process of its own, in turn; all had the same losses in ten steps "
        "from the same weights before anything was timed. *The fastest* is, round by round, the "
        "fastest of all of them. The goals are a ratio of 1 to the fastest, and of 2.5, 1.5 and 1.2 to "
        "Keras `fit`.",
    ),
    Section(
        "busy",
        "The same beside a busy process",
        ("deepfm.py", "--busy", "--starts", "1", "--rounds", "3", "--seconds", "1.2"),
        (*CONTEST, "--rows", "20000"),
        "The same, while a process of a third kind keeps one core busy all the time.",
    ),
    Section(
        "criteo",
        "Wide & Deep on Criteo's shape",
        ("criteo.py", "--starts", "1", "--rounds", "3", "--seconds", "1.5"),
        (*CONTEST, "--rows", "5000"),
        "13 numbers and 26 categories with the sizes of [DeepRec's model "
        "zoo](https://github.com/DeepRec-AI/DeepRec/tree/main/modelzoo/wide_and_deep), written as one "
        "table and split by the compiler, beside Keras and PyTorch unsplit here; and, per core, beside "
        "the figures that DeepRec publishes: 8,786, 16,394 and 22,789 rows a second on 4 cores of an "
        "Intel Xeon 8369HC, for the whole of its program with reading. Those are other processors, and "
        "here nothing is read: the ratios say in which class vflc is, and no more.",
    ),
    Section(
        "wide",
        "Wide tables",
        ("wide.py", "--rows", "20480", "--epochs", "3"),
        ("--rows", "2048", "--columns", "100", "--epochs", "1"),
        "1,500 numbers a party into a network of 128 and 64 units each, joined by one of 64. "
        f"SecretFlow [publishes]({SECRETFLOW}) "
        "6,844 s to train a split network on 800,000 rows of so many columns, on 16 cores (32 threads) "
        "a party and a network of 100 Mbit/s and 50 ms. What can be compared is the size of the tables "
        "and that values cross in the clear; what cannot: its layers, batch and epochs are not "
        "published, and here there is no network. So the ratio is how many epochs of *this* network "
        "vflc trains in that time, on these cores without a network; what its network would add to an "
        "epoch is computed and stated below.",
        ("vflc", "all of its training as one epoch"),
    ),
    Section(
        "tables",
        "Large tables",
        ("tables.py", "--rows", "20000", "1000000", "--peer-rows", "1000000", "--rounds", "5"),
        ("--rows", "2000", "4000", "--peer-rows", "4000", "--rounds", "1", "--steps", "1"),
        "Wide & Deep on Criteo's shape, 39 fields, batch 512, with so many rows of 80 floats in all tables. "
        "Beside Keras `fit`, unsplit, the goal is 10 at a million rows; *products alone* is what numpy's "
        "BLAS reaches with nothing but the matrix products of the layers, in float32; other kernels may be "
        "faster, so it is a comparison and no bound. Two cores of the kind that measured this are too few "
        "for 10 in float32, whatever runs on them: [bundle.md](bundle.md#the-run) computes it. The goals "
        "of the rest: 1.2 times the CPU of a step with the smallest tables, so a ratio of at least 0.83 of "
        "their rows a second; and 1.2 times the bytes of tables and slots in memory, at 10 "
        "million rows: some 300 MiB are there whatever the tables. Ratios of memory and of checkpoints are "
        "better the less they are. For 10 million rows, see there.",
    ),
    Section(
        "reading",
        "Tables read from files",
        ("reading.py", "--rows", "1000000", "--rated", "300000", "--rounds", "3"),
        ("--rows", "20000", "--rated", "20000", "--rounds", "1"),
        "specs/deepfm on two Parquet tables. What each command has resident at most, beside 2 GiB: a ratio "
        "above 1 means less. Then rows a second of an epoch at batch 1024 with columns in files, beside "
        "columns in memory, where the goal is 0.8; and of prediction beside training, where the goal is 5. "
        "A forward pass is about a third of the arithmetic of a step, so little more than 3 times comes "
        "of leaving out the rest, and the remainder of larger batches; *forward products* are what numpy's "
        "BLAS reaches with that third alone, which is no bound either. Writing the file is a part of "
        "prediction, and saving none of training. On a machine whose cores give at most 225 to 235 "
        "GFLOP/s, 1.15 to 1.2 of the 1.35 ms of processor time for 1,024 rows that are predicted were "
        "products; reading tables took .05, all other operators .1, writing .015. For 100 million rows, see "
        "[data.md](data.md#many-rows).",
    ),
    Section(
        "fedrecon",
        "A population: rounds of the tutorial",
        ("fedrecon.py", "--rounds", "150"),
        ("--rounds", "3"),
        "Federated reconstruction in the published tutorial's configuration (specs/fedrecon), a round "
        "of 50 users, beside one user at a time in numpy. The goal is 3 ms a round, 333 rounds a "
        "second.",
    ),
    Section(
        "users",
        "A population: a million users",
        ("cluster.py", "--here"),
        ("--users", "30000", "--rounds", "2"),
        "The same model over a million users with 20 ratings each, 10,000 a round, in one process, beside "
        "the goal.",
        ("vflc", "goal"),
    ),
    Section(
        "transport",
        "Two processes beside one",
        ("transport.py", "--rounds", "3", "--rows", "100000"),
        ("--rounds", "1", "--rows", "5000"),
        "DeepFM at batch 1024 by two `vflc party` over mutual TLS on this machine, which share its "
        "cores, beside `vflc train`; bytes that frames need for a byte of what they carry; and "
        "microseconds of a round trip of 32 KiB, beside a bare stream of gRPC. For the last two, less "
        "is better.",
    ),
    Section(
        "tls",
        "Two processes beside one, over TLS without gRPC",
        ("transport.py", "--scheme", "tls", "--rounds", "5", "--rows", "100000"),
        ("--rounds", "1", "--rows", "5000"),
        "The same with addresses `tls://host:port`. The goal is 0.85.",
    ),
    Section(
        "compile",
        "Compiling",
        ("compile.py",),
        (),
        "Processor seconds, beside the goals: 0.5 s for `vflc compile` of a shipped spec, imports and "
        "all, and 5 s for every 10,000 nodes of a graph, in the column of sizes. Less is better.",
        ("vflc", "goal"),
    ),
    Section(
        "start",
        "Starting",
        ("start.py", "--rounds", "10"),
        ("--rounds", "1"),
        "Processor milliseconds of `vflc check` of specs/deepfm, beside Python with the three imports "
        "that every command needs. Less is better.",
        ("vflc", "imports"),
    ),
)

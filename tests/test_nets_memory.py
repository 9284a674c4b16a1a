"""What networks on the compiled core keep: never more than a limit, always the same result."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur.errors import OutOfMemory
from fastdeblur.nets.execute import execute
from fastdeblur.nets.graph import make_node
from fastdeblur.nets.reference import Run
from nets_graphs import (
    CHAINS,
    FRAMES,
    NEEDS_CORE,
    PSF,
    compare,
    conv,
    graph,
    layer,
    least_of,
    run_native,
    tensors,
)

pytestmark = NEEDS_CORE


def test_what_a_run_leaves_to_the_next_is_counted_once(monkeypatch):
    from fastdeblur.nets import model as models

    rng = np.random.default_rng(2)
    nodes = (
        make_node("conv2d", [0], {"padding": [1, 1, 1, 1]}, tensors(rng, weight=(16, 1, 3, 3))),
        make_node("instance_norm", [1]),
        make_node("conv2d", [2], {"padding": [1, 1, 1, 1]}, tensors(rng, weight=(1, 16, 3, 3))),
    )
    model = models.Model(graph(*nodes, channels=1))
    image = rng.random((200, 180), np.float32)
    asked = []
    monkeypatch.setattr(models, "require_memory", lambda needed, what, kept: asked.append((needed, kept)))
    for _ in range(2):
        model(image, backend="native", n_threads=1)
    (needed, nothing), (again, kept) = asked
    assert nothing == 0
    assert again == needed
    assert 4 * 16 * image.size <= kept <= needed
    # Where memory is limited, nothing larger than the frame needs is taken over.
    from fastdeblur.nets.engines import ENGINES

    engine = next(e for e in ENGINES if e.name == "native")
    limit = engine.memory(model.graph, 196, 180, 1, None)
    model(image[:196], backend="native", n_threads=1, max_memory=limit)
    assert engine.kept(model.graph) <= limit
    assert engine.kept(model.graph) < kept


def test_memory_of_one_run_in_the_next():
    """Frames of other sizes in between, and runs at once on one network."""
    from fastdeblur.nets._native import NativeNet

    network = CHAINS["a U of three scales"]
    net = NativeNet(network)
    rng = np.random.default_rng(6)
    images = [rng.random((3, h, w), dtype=np.float32) for h, w in [(40, 52), (8, 12), (64, 100), (40, 52)]]
    wanted = [run_native(network, image) for image in images]

    def run(k):
        out = np.full(images[k].shape, np.nan, np.float32)
        net.run(images[k], out, None, 0.0, 1, 0)
        np.testing.assert_array_equal(out, wanted[k])

    for k in (0, 1, 2, 3, 0):
        run(k)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, [0, 1, 2, 3] * 8))


@pytest.mark.parametrize(("taps", "has"), [(3, True), (5, False)])
def test_each_thread_s_room_for_winograd_s_products_is_counted(taps, has):
    from fastdeblur.nets._native import NativeNet

    weights = tensors(np.random.default_rng(3), weight=(16, 16, taps, taps))
    net = NativeNet(graph(make_node("conv2d", [0], {"padding": [taps // 2] * 4}, weights), channels=16))
    one, two = (net.memory(16, 40, threads, 0) for threads in (1, 2))  # one band, so one job
    assert (two > one) == has


def test_a_limit_holds_for_the_plans_of_wiener_filters_too():
    from fastdeblur.nets._native import NativeNet

    values = tensors(np.random.default_rng(3), log_balance=(1,))
    net = NativeNet(graph(make_node("fft_wiener", [0], {}, values), channels=1, psf=True))
    whole = net.memory(200, 300, 1, 0)
    assert net.memory(200, 300, 1, whole) <= whole
    with pytest.raises(
        OutOfMemory, match=r"max_memory: expected at least (\d+) bytes for this frame, got 1000"
    ) as caught:
        net.memory(200, 300, 1, 1000)
    least = int(str(caught.value).split()[4])
    assert 2 * 4 * 200 * 300 < net.memory(200, 300, 1, least) <= least
    image = np.random.default_rng(4).random((1, 200, 300), np.float32)
    with pytest.raises(OutOfMemory, match=f"at least {least} bytes for this frame, got {least - 1}"):
        net.run(image, np.empty_like(image), PSF, 0.0, 1, least - 1)


def with_a_long_skip(skip):
    rng = np.random.default_rng(6)
    same = {"padding": [1, 1, 1, 1]}
    nodes = [
        make_node("conv2d", [0], same, tensors(rng, weight=(16, 3, 3, 3))),
        make_node("conv2d", [1], {"stride": [2, 2]}, tensors(rng, weight=(32, 16, 2, 2))),
    ]
    for _ in range(3):
        nodes.append(make_node("instance_norm", [len(nodes)]))
        nodes.append(make_node("conv2d", [len(nodes)], same, tensors(rng, weight=(32, 32, 3, 3))))
    nodes.append(
        make_node("conv_transpose2d", [len(nodes)], {"stride": [2, 2]}, tensors(rng, weight=(32, 16, 2, 2)))
    )
    if skip:
        nodes.append(make_node("add", [len(nodes), 1]))
    nodes.append(make_node("conv2d", [len(nodes)], same, tensors(rng, weight=(3, 16, 3, 3))))
    return graph(*nodes, multiple_of=(2, 2))


def test_a_skip_that_is_cheap_to_make_again_is_not_kept():
    from fastdeblur.nets._native import NativeNet

    height, width = 300, 400
    long, none = (NativeNet(with_a_long_skip(skip)).memory(height, width, 1, 0) for skip in (True, False))
    assert long - none < 4 * 16 * height * width / 4  # of the skip's bytes
    for frame in [*FRAMES[:2], FRAMES[3], (98, 64)]:
        compare(with_a_long_skip(True), frame, tolerance=1e-5)


def test_what_a_wiener_filter_read_makes_room_for_what_follows():
    from fastdeblur.nets._native import NativeNet

    rng = np.random.default_rng(8)
    same = {"padding": [1, 1, 1, 1]}
    nodes = [
        make_node("conv2d", [0], same, tensors(rng, weight=(16, 1, 3, 3))),
        make_node("fft_wiener", [1], {}, tensors(rng, log_balance=(16,))),
        make_node("conv2d", [2], same, tensors(rng, weight=(16, 16, 3, 3))),
        make_node("instance_norm", [3]),
        make_node("conv2d", [4], same, tensors(rng, weight=(1, 16, 3, 3))),
    ]
    net = NativeNet(graph(*nodes, channels=1, psf=True))
    value = 4 * 16 * 400 * 600
    filters = net._wiener_memory(400, 600)
    assert net.memory(400, 600, 1, 0) - filters < 2.4 * value  # two at a time: never three
    alone = NativeNet(graph(*nodes[:2], conv(rng, 2, 1, 16, 3), channels=1, psf=True))
    assert alone.memory(400, 600, 1, 0) - filters < 1.4 * value  # and here one


def test_a_wiener_filter_s_result_takes_the_place_of_what_it_read():
    """Where nothing else reads it; channels beyond a register's, filters in a row and of one value."""
    rng = np.random.default_rng(9)

    def wiener(value, channels):
        return layer(
            "fft_wiener", [value], {}, {"log_balance": rng.uniform(-5, -2, channels).astype(np.float32)}
        )

    row = [
        conv(rng, 0, 9, 1, 5),
        wiener(1, 9),
        conv(rng, 2, 9, 9, 3),
        wiener(3, 9),
        wiener(4, 9),
        conv(rng, 5, 1, 9, 3),
    ]
    both = [
        conv(rng, 0, 9, 1, 3),
        wiener(1, 9),
        wiener(1, 9),
        layer("multiply", [2, 3]),
        layer("add", [4, 1]),
        conv(rng, 5, 1, 9, 3),
    ]
    for nodes in (row, both):
        network = graph(*nodes, channels=1, psf=True)
        compare(network, (45, 70), PSF, tolerance=1e-5)
        image = rng.random((1, 45, 70), dtype=np.float32)
        np.testing.assert_allclose(
            run_native(network, image, PSF, limit=least_of(network, 45, 70)),
            run_native(network, image, PSF),
            rtol=1e-5,
        )


@pytest.mark.parametrize(
    "name",
    [
        "a U of three scales",
        "windows",
        "attention at every few pixels",
        "down and up",
        "wide enough for chunks",
    ],
)
def test_less_memory_same_result(name):
    """Narrower strips, and where values would be kept whole, making them again: within rounding of sums over the frame."""
    from fastdeblur.nets._native import NativeNet

    network = CHAINS[name]
    image = np.random.default_rng(2).random((3, 260, 300), dtype=np.float32)
    net = NativeNet(network)
    free, whole = net.memory(260, 300, 1, 0), run_native(network, image)
    with pytest.raises(OutOfMemory, match=r"max_memory: expected at least \d+ bytes"):
        net.memory(260, 300, 1, 1000)
    least = least_of(network, 260, 300)
    assert least < free
    for share in (0.0, 0.3, 0.6, 0.9):
        limit = int(least + share * (free - least))
        assert net.memory(260, 300, 1, limit) <= limit
        np.testing.assert_allclose(run_native(network, image, limit=limit), whole, rtol=1e-5, atol=1e-6)


def three_convolutions(rng):
    return graph(conv(rng, 0, 32, 3, 3), conv(rng, 1, 48, 32, 3), conv(rng, 2, 3, 48, 3))


def up_and_down(rng):
    twice = {"stride": [2, 2], "padding": [1, 1, 1, 1]}
    return graph(
        conv(rng, 0, 32, 3, 3),
        layer("conv_transpose2d", [1], twice, tensors(rng, weight=(32, 24, 4, 4))),
        conv(rng, 2, 3, 24, 2, padding=0, stride=[2, 2]),
    )


@pytest.mark.parametrize("make", [three_convolutions, up_and_down])
def test_strips_do_not_change_a_bit(make):
    """Fours of pixels are the frame's, not the strip's, so that narrower strips round alike."""
    from fastdeblur.nets._native import NativeNet

    rng = np.random.default_rng(4)
    network = make(rng)
    image = rng.random((3, 90, 1003), dtype=np.float32)
    whole = run_native(network, image)
    free = NativeNet(network).memory(90, 1003, 1, 0)
    least = least_of(network, 90, 1003)
    assert least < 0.8 * free
    for share in (0.0, 0.2, 0.4, 0.6, 0.8):
        limit = int(least + share * (free - least))
        np.testing.assert_array_equal(run_native(network, image, limit=limit), whole)


def test_attention_at_every_few_pixels_keeps_next_to_nothing_where_memory_is_short():
    from fastdeblur.nets._native import NativeNet

    network = CHAINS["attention at every few pixels"]
    free = NativeNet(network).memory(1040, 1200, 1, 0)
    value = 4 * 24 * 520 * 600  # bytes of one of those that would be kept
    assert free > 4 * value
    assert least_of(network, 1040, 1200) < value


@st.composite
def plans(draw):
    """Networks that ask much of the planner: skips, filters and sums over the frame, at several scales."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    nodes = [conv(rng, 0, 9, 1, 3)]
    at = {1: [1], 2: [], 4: []}  # values of nine channels by scale

    def add(scale, node):
        nodes.append(node)
        at[scale].append(len(nodes))

    def one(scale):
        return draw(st.sampled_from(at[scale]))

    for _ in range(draw(st.integers(2, 9))):
        scale = draw(st.sampled_from([s for s in at if at[s]]))
        kind = draw(st.sampled_from(["norm", "attention", "wiener", "add", "down", "up", "conv", "both"]))
        value = one(scale)
        if kind == "norm":
            add(scale, layer("instance_norm", [value]))
        elif kind == "attention":
            window, step = draw(
                st.sampled_from([([8, 8], [4, 4]), ([20, 9], [10, 3]), ([5, 5], [2, 2]), ([6, 300], [1, 40])])
            )
            add(
                scale,
                layer(
                    "channel_attention",
                    [value],
                    {"window": window, "step": step},
                    tensors(rng, weight=(9, 9)),
                ),
            )
        elif kind == "wiener" and scale == 1:
            add(scale, layer("fft_wiener", [value], {}, {"log_balance": np.full(9, -2, np.float32)}))
        elif kind == "both" and scale == 1:  # of one value, which others may read as well
            for balance in (-2, -3):
                add(scale, layer("fft_wiener", [value], {}, {"log_balance": np.full(9, balance, np.float32)}))
        elif kind == "down" and scale < 4:
            add(2 * scale, conv(rng, value, 9, 9, 2, padding=0, stride=[2, 2]))
        elif kind == "up" and scale > 1:
            add(scale // 2, layer("resize", [value], {"factor": [2, 2], "mode": "bilinear"}))
        elif kind == "add":
            add(scale, layer("add", [value, one(scale)]))
        else:
            mode = draw(st.sampled_from(["zeros", "reflect"]))
            add(scale, conv(rng, value, 9, 9, draw(st.sampled_from([1, 3, 5])), padding_mode=mode))
    for scale in (4, 2):  # everything bears on the result
        if at[scale]:
            for value in at[scale][1:]:
                add(scale, layer("add", [at[scale][-1], value]))
            add(scale // 2, layer("resize", [at[scale][-1]], {"factor": [2, 2]}))
    for value in at[1][1:-1]:
        add(1, layer("add", [at[1][-1], value]))
    nodes.append(conv(rng, at[1][-1], 1, 9, 3))
    filtered = any(node.op == "fft_wiener" for node in nodes)
    return graph(*nodes, channels=1, multiple_of=(4, 4), psf=filtered)


@settings(deadline=None, max_examples=60)
@given(network=plans(), shape=st.tuples(st.integers(20, 90), st.integers(20, 200)), threads=st.integers(1, 3))
def test_every_limit_gives_the_same_result(network, shape, threads):
    from fastdeblur.nets._native import NativeNet

    net = NativeNet(network)
    image = np.random.default_rng(1).random((1, *shape), dtype=np.float32)
    wanted = execute(network, image, Run(PSF, None), dtype=np.float64)
    whole = run_native(network, image, PSF, threads=threads)
    assert np.linalg.norm(whole - wanted) <= 1e-4 * np.linalg.norm(wanted)
    free = net.memory(*shape, threads, 0)
    least = least_of(network, *shape, threads)
    assert net.memory(*shape, threads, least) <= least
    for limit in np.linspace(1, least - 1, 3).astype(int):  # whatever is asked for, it is the least
        with pytest.raises(OutOfMemory, match=f"at least {least} bytes"):
            net.memory(*shape, threads, int(limit))
    for limit in np.linspace(least, free, 12).astype(int):
        assert net.memory(*shape, threads, int(limit)) <= limit
        out = run_native(network, image, PSF, threads=threads, limit=int(limit))
        assert np.linalg.norm(out - whole) <= 1e-5 * np.linalg.norm(whole), limit


@pytest.mark.parametrize("skips", [False, True])
def test_planning_takes_no_time_to_speak_of(skips):
    from fastdeblur.nets._native import NativeNet

    count = 300
    nodes = [layer("linear", [0], {}, {"weight": np.ones((1, 1), np.float32)})]
    for _ in range(count):
        nodes.append(layer("instance_norm", [len(nodes)]))
    for k in range(count if skips else 0):
        nodes.append(layer("add", [len(nodes), 1 + k]))
    net = NativeNet(graph(*nodes, channels=1))
    start = time.perf_counter()
    for width in (64, 2000):
        net.memory(64, width, 2, 0)
        with pytest.raises(OutOfMemory):
            net.memory(64, width, 2, 1000)
    assert time.perf_counter() - start < 60  # once hours


def test_memory_does_not_grow_with_the_frame():
    from fastdeblur.nets._native import NativeNet

    net = NativeNet(CHAINS["wide enough for chunks"])
    assert net.memory(8000, 800, 1, 0) <= 1.1 * net.memory(1000, 800, 1, 0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("name", ["a U of three scales", "attention at every few pixels", "windows"])
def test_memory_is_what_a_run_takes(name, limited):
    code = f"""
        import numpy as np
        from fastdeblur import nets
        from fastdeblur.nets._native import NativeNet
        from nets_graphs import CHAINS, least_of
        network = CHAINS[{name!r}]
        net = NativeNet(network)
        image = np.random.default_rng(0).random((3, 1500, 2000), dtype=np.float32)
        out = np.zeros_like(image)
        net.run(image[:, :64, :64], np.zeros((3, 64, 64), np.float32), None, 0.0, 1, 0)

        def peak():  # of this program alone: getrusage's is inherited
            lines = open("/proc/self/status").read().splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

        limit = least_of(network, 1500, 2000) if {limited} else 0
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = peak()
        said = net.memory(1500, 2000, 1, limit)
        net.run(image, out, None, 0.0, 1, limit)
        print(peak() - before, said)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    took, said = map(int, done.stdout.split())
    assert took <= 1.1 * said + 2e6
    assert limited or took >= 0.8 * said

"""What a damaged or hostile file may cost."""

import contextlib
import time
import tracemalloc


@contextlib.contextmanager
def small_budget():
    """Check the seconds and the memory that this process needs for what is done inside."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        seconds = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < 8  # 2, which tracemalloc makes four times as many
    assert peak < 200e6

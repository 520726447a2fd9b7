import os
import signal
import threading

import pytest

from sb3_course.stopping import finishing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_is_kept_for_later_and_a_second_one_ends(number):
    before, told = signal.getsignal(number), []
    with finishing(told.append) as finish:
        assert finish.number == 0
        os.kill(os.getpid(), number)
        assert finish.number == number
        assert len(told) == 1 and "once more stops at once" in told[0]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_other_threads_leave_signals_as_they_are():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with finishing(print) as finish:
            seen.append((finish.number, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, before)]

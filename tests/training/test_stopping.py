"""Stopping on request: the first signal is noted, the second acts as before."""

import os
import signal

import pytest

from retrojax.training.stopping import Stopped, stop_on_signals


@pytest.fixture
def interrupts():
    """SIGINT as in the foreground: a shell starts jobs in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with stop_on_signals() as request:
        assert request.signal_number is None
        os.kill(os.getpid(), number)
        assert request.signal_number == number
    assert signal.getsignal(number) is before


def test_a_second_interrupt_interrupts(interrupts):
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal_number == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_the_exit_code_is_the_shells():
    assert Stopped(3, signal.SIGTERM).exit_code == 143
    assert "step 3" in str(Stopped(3, signal.SIGTERM))

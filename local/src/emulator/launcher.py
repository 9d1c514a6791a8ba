"""Runs the emulator until the program that started it is gone.

Standard input is a pipe of that program: it ends when the program ends, however it does. Then this process group,
which holds the emulator, the functions and the jobs, is killed.
"""
import os
import signal
import threading


def follow_parent():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=follow_parent, daemon=True).start()

from ministack.app import main  # noqa: E402

main()

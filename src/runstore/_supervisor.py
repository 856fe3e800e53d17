"""Run one server for exactly as long as somebody holds the other end of standard input.

A script that needs nothing but the standard library. A death signal (`PR_SET_PDEATHSIG`) would
be tied to Linux and to the thread that forked; a pipe ends with the whole process, however that
dies, and is also how the living parent says that it is done. A process that the parent forked
and that never called exec holds the pipe too.
"""

import os
import shutil
import subprocess
import sys
import threading


def main(stop_signal: str, account: str, folder: str, *command: str) -> int:
    """Run `command`, and when input ends send it `stop_signal` and remove `folder`.

    `account` is "uid:gid", or empty to stay who we are. Answers the command's exit status.
    """
    uid, _, gid = account.partition(":")
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        user=int(uid) if uid else None,
        group=int(gid) if gid else None,
        extra_groups=[] if uid else None,
    )
    input_ended = threading.Event()

    def stop_when_input_ends() -> None:
        # Not sys.stdin: a thread that holds its lock when the interpreter ends is fatal.
        while os.read(0, 4096):
            pass
        input_ended.set()
        server.send_signal(int(stop_signal))

    threading.Thread(target=stop_when_input_ends, daemon=True).start()
    status = server.wait()
    if input_ended.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

import platform
import subprocess
import sys
import textwrap

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_kept_while_a_run_lasts_and_given_back_when_asked_and_in_the_end():
    script = textwrap.dedent(
        """
        import torch
        from lookahead_router.training.memory import keeping_freed_memory, return_freed_memory

        def used():
            return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

        before = used()
        with keeping_freed_memory():
            blocks = [torch.ones(2**18) for _ in range(300)]
            del blocks
            kept = used() - before
            return_freed_memory()
            trimmed = used() - before
            blocks = [torch.ones(2**18) for _ in range(300)]
            del blocks
        print(kept, trimmed, used() - before)
        """
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kept, trimmed, given_back = (float(value) for value in result.stdout.split())
    assert kept > 250  # MiB
    assert trimmed < 50
    assert given_back < 50
